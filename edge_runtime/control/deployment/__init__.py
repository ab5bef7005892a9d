"""A release becomes the model of a slot, or is gone and the old one never stopped: the state machine and its record."""
