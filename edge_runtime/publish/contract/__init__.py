"""What is said on the wire: documents as types, the table of topics, and the published forms that are made of both."""
