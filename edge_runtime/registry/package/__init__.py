"""A release as a CNCF ModelPack artifact: made of a package directory, checked when it comes from a stranger."""
