"""Pure values of the domain: no I/O, threads, clock or environment (import-linter keeps it so)."""
