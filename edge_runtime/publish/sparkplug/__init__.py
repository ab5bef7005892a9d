"""Sparkplug B 3.0: what is said on the second broker connection (payload, topics), and the edge node that says it."""
