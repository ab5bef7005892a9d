"""Commands from outside: read, admitted or refused, carried out once, answered, and kept on record."""
