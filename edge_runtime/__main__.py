"""Makes ``python -m edge_runtime`` the same as the console command."""

from edge_runtime.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
