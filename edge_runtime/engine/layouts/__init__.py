"""Model directories of other systems, opened as they are; one module for each way to lay a model out.

None of them lists digests: the identity of such a model is that of the bare files, and of what was read beside them.
Nothing in them is run or unpickled; what runs here is an `.onnx` file or an OpenVINO IR.
"""

from edge_runtime.engine.layouts.find import find_around, find_foreign
from edge_runtime.engine.layouts.foreign import Foreign
from edge_runtime.engine.layouts.mlflow import check_signature

__all__ = ["Foreign", "check_signature", "find_around", "find_foreign"]
