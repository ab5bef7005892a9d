"""Composition root: the only layer that names concrete parts and joins them into a running product."""
