"""The model to start from: opened as the product opens it, checked to be fp32, and made ready for quantizers."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import onnx

from edge_runtime.core.errors import DataError
from edge_runtime.core.manifest import MANIFEST_NAME
from edge_runtime.engine.package import Package, open_package
from quantize_model.bundle import FLOAT_NAME, form, write_manifest
from quantize_model.graph import is_quantized, make_static, unquantize

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Source:
    """An fp32 model.

    Attributes:
        package: as the product opened it.
        written: its own `edge-model.json`, empty for a bare file.
        root: its directory, ``None`` for a bare file.
        model: fp32, with a static input.
        was_int8: whether it was made fp32 from INT8.
    """

    package: Package
    written: dict[str, Any]
    root: Path | None
    model: onnx.ModelProto
    was_int8: bool


def open_source(path: Path, *, from_int8: bool) -> Source:
    """Open a package directory or a bare `.onnx` whose metadata says enough.

    Args:
        path: where it is.
        from_int8: whether a QDQ model may be made fp32 again.

    Raises:
        DataError: it cannot be opened, is no fp32 ONNX, or has INT8 already (code ``quantize.unsupported``).
    """
    package = open_package(path, ("onnxruntime",))
    root = path if path.is_dir() else path.parent if package.manifest is not None else None
    written = json.loads((root / MANIFEST_NAME).read_bytes()) if root is not None else {}
    model = onnx.ModelProto.FromString(package.model)
    was_int8 = is_quantized(model)
    if was_int8 and not from_int8:
        message = f"{path}: INT8 already"
        help_ = "start from the fp32 model, or make this one fp32 again with --from-int8; that brings back no accuracy"
        raise DataError("quantize.unsupported", message, help=help_)
    if package.spec.input.dtype == "float16" or package.precision in ("fp16", "bf16"):
        message = f"{path}: expected fp32, found {package.precision or 'fp16'}"
        raise DataError("quantize.unsupported", message, help="export the model in fp32")
    model = unquantize(model) if was_int8 else model
    model = make_static(model, package.spec.input.name, package.spec.input.shape)
    return Source(package, written, root, model, was_int8)


def write_float(source: Source, folder: Path) -> Path:
    """Write ``source`` as a package in ``folder`` and return it: what INT8 is compared with."""
    folder.mkdir()
    file = folder / FLOAT_NAME
    original = source.package.model
    file.write_bytes(source.model.SerializeToString() if source.was_int8 else original)
    package = replace(source.package, precision="fp32")
    write_manifest(folder, package, source.written, weights=[form([file], "fp32")], changes={})
    return folder
