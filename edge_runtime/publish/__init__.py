"""Results out: the wire form, the durable spool and the broker connection."""
