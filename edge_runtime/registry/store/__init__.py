"""What a box keeps: verified blobs, releases, the floors that never fall."""
