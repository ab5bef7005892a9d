"""What the processor is, and what its instructions mean for the precision of models. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.app.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

MEASURE = "edge-runtime bench MODEL --choose fps=N"
FULL_SPEED = "INT8 models run at full speed, and their sums do not saturate"
SLOW_QUANTIZATION = "INT8 gains 1.3 to 2 times, and nothing on small models; quantize with reduce_range, or answers err"


def describe_processor(cpuinfo: str, cores: int) -> Iterator[Finding]:
    """Tell from the text of ``/proc/cpuinfo`` what runs fast here.

    Figures: INT8 against FP32 of YOLO-n and ResNet-50 on a processor without VNNI, measured with OpenVINO and ONNX
    Runtime (1.25 to 2.1 times); without VNNI the sum of two products saturates in 16 bits (vpmaddubsw).
    """
    facts: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    yield Finding("ok", f"{cores} usable cores, {facts.get('model name', 'of a name that the kernel does not tell')}")
    if "flags" in facts:
        yield from _x86(frozenset(facts["flags"].split()))
    elif "Features" in facts:
        yield from _arm(frozenset(facts["Features"].split()))


def _x86(flags: frozenset[str]) -> Iterator[Finding]:
    if "avx2" not in flags:
        yield Finding("warn", "the processor has no AVX2: inference will be slow", "use a processor with AVX2")
    if "amx_int8" in flags:
        yield Finding("ok", f"AMX and VNNI: {FULL_SPEED}")
    elif flags & {"avx512_vnni", "avx_vnni"}:
        yield Finding("ok", f"VNNI: {FULL_SPEED}")
    else:
        yield Finding("warn", f"no VNNI: {SLOW_QUANTIZATION}", MEASURE)
    if flags & {"amx_bf16", "avx512_bf16"}:
        yield Finding("ok", "BF16 instructions: a package whose precision is bf16 runs in it; all others stay in FP32")


def _arm(features: frozenset[str]) -> Iterator[Finding]:
    if "asimddp" in features:
        yield Finding("ok", "dot product instructions: INT8 models run at full speed")
    else:
        yield Finding("warn", "no dot product instructions: INT8 models gain little", MEASURE)
