"""Models compiled for a device: what is loaded, how frames get in, what comes out. Runs in the `engine` child."""
