"""The operator's configuration: what may be written (schema), how it is read (loader), what is said about mistakes."""
