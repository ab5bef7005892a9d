"""Model directories of other tools, turned into packages."""
