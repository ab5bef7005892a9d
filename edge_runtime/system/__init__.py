"""What every process here needs from the operating system: threads, children, files, shared frames, logs."""
