"""The connection to the broker: one thread, one link at a time."""
