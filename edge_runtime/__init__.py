"""Edge inference runtime: camera in, verdict out, on the line."""

__version__ = "0.1.0"
