"""Places that hold a registry: an OCI distribution registry, an image-layout directory or tar, a static web server."""
