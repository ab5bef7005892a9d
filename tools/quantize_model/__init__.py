"""Turns an fp32 model into INT8, and only hands it out when it still answers like the original."""
