"""``python -m edge_runtime.engine.trial``: tries devices and models in a process that may die of it.

Used by ``doctor`` and ``bench --choose``. A driver may crash or hang the process that asks it for anything, so whoever
asks has a deadline and starts another one (`app.trials`). One JSON object a line on standard input is an order, one on
standard output its answer; the process ends with its input. The command line holds what `confinement.confine` is told,
so that what works here works in the engine process, which may touch the same files and devices.

    {"op": "ready"}                                                           {}, when everything is imported
    {"op": "devices"}                   {"BACKEND": [{"device", "name", "precisions"}, ...] or why it cannot be used}
    {"op": "try", "backend", "device", "precision"}                           {"device", "precision", "right"}
    {"op": "measure", "path", "backend", "device", "threads", "streams", "seconds", "width", "height"}
                                                                                        see `_measure`
    anything that fails                                                       {"error", "message", "help"}
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError, EdgeError
from edge_runtime.engine.base import BACKENDS, EngineOptions
from edge_runtime.engine.bench import bench
from edge_runtime.engine.confinement import confine
from edge_runtime.engine.loader import load_engine
from edge_runtime.engine.preprocess import limit_cv2_threads
from edge_runtime.engine.probe_model import GREY, SPEC, is_right, probe_model
from edge_runtime.engine.protocol import BadFieldError, text_field, whole_field
from edge_runtime.engine.worker import SWITCH_INTERVAL_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TextIO

    from edge_runtime.engine.base import Engine

    Answer = dict[str, object]

_MODULES: Final = {"openvino": "edge_runtime.engine.ov", "onnxruntime": "edge_runtime.engine.ort"}
_QUANTIZED: Final = "int8"


def main() -> None:
    """Serve until the end of standard input; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    limit_cv2_threads()
    unusable = import_backends()
    confine(json.loads(sys.argv[1]))
    serve(sys.stdin, answers, unusable)


def import_backends() -> dict[str, str]:
    """Import both, as the zygote does before an engine is confined; return why, for each that cannot be."""
    unusable: dict[str, str] = {}
    for backend in BACKENDS:
        try:
            importlib.import_module(_MODULES[backend])
        except (ImportError, OSError, RuntimeError) as error:
            unusable[backend] = f"{type(error).__name__}: {error}"
    return unusable


def serve(orders: TextIO, answers: TextIO, unusable: Mapping[str, str]) -> None:
    """Answer each order."""
    known: dict[str, Callable[[Mapping[str, object]], Answer]] = {
        "ready": lambda _: {},
        "devices": lambda _: devices(unusable),
        "try": try_device,
        "measure": measure,
    }
    for line in orders:
        order = json.loads(line)
        try:
            answer = known[order["op"]](order)
        except EdgeError as error:
            answer = {"error": error.code, "message": error.message, "help": error.help}
        except BadFieldError as error:
            answer = {"error": "trial.order", "message": str(error), "help": None}
        except Exception as error:  # noqa: BLE001 - what drivers raise is written down nowhere; whoever asked is told
            answer = {"error": "model.unforeseen", "message": f"{type(error).__name__}: {error}", "help": None}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def devices(unusable: Mapping[str, str]) -> Answer:
    """Return each backend's devices with their names and the precisions they state."""
    found: Answer = {}
    for backend in BACKENDS:
        if backend in unusable:
            found[backend] = unusable[backend]
            continue
        facts = importlib.import_module(_MODULES[backend]).available_devices()
        found[backend] = [{"device": d.device, "name": d.name, "precisions": list(d.precisions)} for d in facts]
    return found


def try_device(order: Mapping[str, object]) -> Answer:
    """Compile the probe model and run it once; return what it really ran on and in, and whether its answer was right.

    Raises:
        EdgeError: it cannot be compiled or run.
    """
    precision, device = text_field(order, "precision"), text_field(order, "device")
    quantized = precision == _QUANTIZED
    options = EngineOptions(device=device, precision=None if quantized else precision)
    content = probe_model(quantized=quantized)
    engine: Engine
    if text_field(order, "backend") == "openvino":
        from edge_runtime.engine import ov  # noqa: PLC0415 - either may be missing

        engine = ov.OpenVinoEngine(content, b"", SPEC, precision, options)
    else:
        from edge_runtime.engine import ort  # noqa: PLC0415 - either may be missing

        engine = ort.OrtEngine(content, SPEC, options)
    request = engine.open_request()
    request.canvas().fill(GREY)
    right = is_right(request.infer()[0])
    return {"device": engine.info.device, "precision": engine.info.precision, "right": right}


def measure(order: Mapping[str, object]) -> Answer:
    """Load a model, let all its lanes judge made-up frames for a while, free it; return what it is and the figures.

    Raises:
        EdgeError: the model cannot be loaded or run that way.
    """
    seconds = order.get("seconds")
    if not isinstance(seconds, int | float):
        raise DataError("trial.order", "seconds: expected a number")
    streams = whole_field(order, "streams")
    model = load_engine(
        text_field(order, "path"),
        device=text_field(order, "device"),
        backend=text_field(order, "backend"),
        threads=whole_field(order, "threads"),
        streams=streams,
        cache_dir=text_field(order, "cache_dir"),
    )
    try:
        size = (whole_field(order, "width"), whole_field(order, "height"))
        figures = bench(model, seconds=float(seconds), requests=streams, size=size)
    finally:
        model.close()
    return {
        "device": model.info.device,
        "precision": model.info.precision,
        "threads": model.info.threads,
        "p50_ms": figures.p50_ms,
        "p99_ms": figures.p99_ms,
        "fps": figures.throughput_fps,
        "cpu_ms": figures.cpu_ms_per_frame,
        "frames": figures.frames,
    }


if __name__ == "__main__":
    main()
