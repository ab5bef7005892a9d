"""Where each value of a model's description comes from, and what to write when it comes from nowhere."""

from edge_runtime.engine.metadata.graph import Graph
from edge_runtime.engine.metadata.resolve import Sourced, other_labels, resolve

__all__ = ["Graph", "Sourced", "other_labels", "resolve"]
