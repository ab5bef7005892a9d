"""What looks at the running parts from outside: health, status, the service manager."""
