"""Image sources and the process that reads one of them; nothing here is imported by the main process but ``source``."""
