"""What a box does with a registry: look, believe, decide, fetch, verify, keep."""
