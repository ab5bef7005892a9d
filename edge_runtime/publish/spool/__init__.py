"""The durable queue between results and the broker."""
