"""Models that are wrong on purpose, one for each way, and good ones beside them: releases of one model, ``parts``.

    root = write(folder / "7", "crash_live", release=7)        a package directory

What they look at is the stamp that simulated cameras put into a picture (`camera.stamp`): one bit of the frame's number
says whether the part is ``good`` or ``bad``, so verdicts change every 8 frames and are known beforehand; another one is
set in 32 of 64 frames and in no golden frame: what is *live* here happens then, and no package can know of it before.

All are OpenVINO IR, because only those may hold a state, and small: 320 x 64 pixels, less than a millisecond.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from edge_runtime.camera.stamp import BITS, block_px, stamp_bits
from edge_runtime.core.golden import write_golden

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it would phone home

import openvino as ov  # noqa: E402 - after the line above
from openvino import opset13 as op  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

MODEL: Final = "parts"
LABELS: Final = ("good", "bad")
WIDTH, HEIGHT = 320, 64
SOURCE: Final = f"sim:conveyor?fps=30&size={WIDTH}x{HEIGHT}"
PART_BIT: Final = 3
"""Of a frame's number: 1 = a bad part."""
LIVE_BIT: Final = 5
"""Of a frame's number: 1 in no golden frame."""
GOLDEN: Final = (1, 7, 8, 12, 66, 74)
NAN_AFTER: Final = 500
_LOGIT = 2.0
_SHAPE = (1, 3, HEIGHT, WIDTH)
_LEAK_FLOATS = 64 << 10  # a quarter of a MiB for each live frame


def is_bad(number: int) -> bool:
    """Tell whether the part in frame ``number`` is bad, in truth."""
    return bool(number >> PART_BIT & 1)


# --- networks

Node = Any  # openvino ships no types


def _constant(value: object, kind: type = np.float32) -> Node:
    return op.constant(np.array(value, kind))


def _bit(x: Node, bit: int) -> Node:
    """Return one bit of the frame's number, 0 or 1, of shape [1, 1, 1, 1]."""
    side = block_px(WIDTH, HEIGHT)
    assert side is not None
    left = (31 - bit) * side
    begin, end = [0, 0, 1, left + 1], [1, 3, side - 1, left + side - 1]
    square = op.strided_slice(x, begin, end, [1] * 4, begin_mask=[0] * 4, end_mask=[0] * 4)
    return op.round(op.reduce_mean(square, [0, 1, 2, 3], keep_dims=True))


def _work(x: Node, layers: int, seed: int) -> Node:
    """Return zero of shape [1, 1, 1, 1], after convolutions; the seed makes another model of it."""
    random = np.random.default_rng(seed)
    channels = 3
    for _ in range(layers):
        weights = random.normal(0, 0.1, (8, channels, 3, 3)).astype(np.float32)
        x = op.relu(op.convolution(x, op.constant(weights), [1, 1], [1, 1], [1, 1], [1, 1]))
        channels = 8
    nothing = op.multiply(op.reduce_mean(op.clamp(x, 0.0, 1.0), [0, 1, 2, 3], keep_dims=True), _constant(1e-30))
    return op.multiply(nothing, _constant(1e-30))


def _scores(x: Node, seed: int, *, layers: int = 4, logit: float = _LOGIT, disturbed: Node | None = None) -> Node:
    """Return [1, 2]: logits of good and bad; ``disturbed`` of shape [1, 1, 1, 1] is added."""
    bad = op.subtract(op.multiply(_bit(x, PART_BIT), _constant(2)), _constant(1))  # -1 or 1
    bad = op.add(op.multiply(bad, _constant(logit)), _work(x, layers, seed))
    if disturbed is not None:
        bad = op.add(bad, disturbed)
    both = op.concat([op.negative(bad), bad], 1)
    return op.reshape(both, op.constant(np.array([1, 2], np.int64)), special_zero=False)


def _network(make: Callable[[Node], Node], *sinks: Node) -> ov.Model:
    x = op.parameter(_SHAPE, np.float32, name="x")
    x.output(0).set_names({"x"})
    return _finished(x, make(x), *sinks)


def _finished(x: Node, y: Node, *sinks: Node) -> ov.Model:
    result = op.result(op.softmax(y, 1))
    result.output(0).set_names({"y"})
    return ov.Model([result], list(sinks), [x], MODEL)


def _live(x: Node) -> Node:
    return _bit(x, LIVE_BIT)


def _whole(x: Node) -> Node:
    return op.convert(op.reshape(x, op.constant(np.array([1], np.int64)), special_zero=False), np.int64)


def good(seed: int) -> ov.Model:
    """Right, and another file for another seed."""
    return _network(lambda x: _scores(x, seed))


def slow(seed: int) -> ov.Model:
    """Right, and needs more than five times as long."""
    return _network(lambda x: _scores(x, seed, layers=30))


def opposite(seed: int) -> ov.Model:
    """Sees a bad part where a good one is: as many of each as before."""
    return _network(lambda x: _scores(x, seed, logit=-_LOGIT))


def unsure(seed: int) -> ov.Model:
    """Right, but hardly: its scores are near 0.6 where they used to be near 1."""
    return _network(lambda x: _scores(x, seed, logit=0.2))


def _endless(turns: Node, inside: Node) -> Node:
    """Return a Loop's answer, [1, 1, 1, 1]: ``inside`` after ``turns``."""
    value, go_on = op.parameter([1, 1, 1, 1], np.float32), op.constant(np.array([True]))
    body = ov.Model([op.sin(op.add(value, _constant(1))), go_on], [value], "body")
    loop = op.loop(turns, op.constant(np.array([True])))
    loop.set_function(body)
    loop.set_special_body_ports([-1, 1])
    loop.set_merged_input(value, inside.output(0), body.results[0].output(0))
    return loop.get_iter_value(body.results[0].output(0), -1)


def hang_load(seed: int) -> ov.Model:
    """A Loop without end that nothing live decides: the compiler computes it beforehand."""

    def make(x: Node) -> Node:
        forever = _endless(op.constant(np.array([-1], np.int64)), _constant([[[[1.0]]]]))
        return _scores(x, seed, disturbed=op.multiply(forever, _constant(0)))

    return _network(make)


def _turning(seed: int, turns: float) -> ov.Model:
    def make(x: Node) -> Node:
        count = _whole(op.add(op.multiply(_live(x), _constant(turns)), _constant(1)))
        spent = _endless(count, op.reduce_mean(x, [0, 1, 2, 3], keep_dims=True))
        return _scores(x, seed, disturbed=op.multiply(spent, _constant(1e-30)))

    return _network(make)


def slow_live(seed: int) -> ov.Model:
    """Takes its time for live pictures only."""
    return _turning(seed, 20_000)


def hang_live(seed: int) -> ov.Model:
    """Never answers for live pictures."""
    return _turning(seed, 2e9)


def _filled(x: Node, floats: Node) -> Node:
    """Return zero of shape [1, 1, 1, 1] after 8 x ``floats`` numbers were held in memory."""
    shape = op.concat([floats, op.constant(np.array([8], np.int64))], 0)
    filled = op.broadcast(op.reshape(x, op.constant(np.array([1, 1], np.int64)), special_zero=False), shape)
    least = op.reduce_min(filled, [0, 1], keep_dims=True)
    shape = op.constant(np.array([1, 1, 1, 1], np.int64))
    return op.multiply(op.reshape(least, shape, special_zero=False), _constant(1e-30))


def _hungry(seed: int, floats: float, *, live: bool) -> ov.Model:
    def make(x: Node) -> Node:
        mean = op.reduce_mean(x, [0, 1, 2, 3], keep_dims=True)
        share = _live(x) if live else op.add(op.multiply(mean, _constant(0)), _constant(1))
        count = op.add(_whole(op.multiply(share, _constant(floats))), op.constant(np.array([1], np.int64)))
        return _scores(x, seed, disturbed=_filled(mean, count))

    return _network(make)


def memory_load(seed: int) -> ov.Model:
    """Wants 64 GiB for its first picture."""
    return _hungry(seed, 2e9, live=False)


def memory_live(seed: int) -> ov.Model:
    """Wants 64 GiB for a live picture."""
    return _hungry(seed, 2e9, live=True)


def crash_live(seed: int) -> ov.Model:
    """Writes far outside of a tensor for live pictures, which OpenVINO does not check."""

    def make(x: Node) -> Node:
        place = _whole(op.multiply(_live(x), _constant(5e9)))
        row = op.reshape(x, op.constant(np.array([-1], np.int64)), special_zero=False)
        spread = op.scatter_elements_update(row, place, _constant([0.0]), op.constant(np.array(0, np.int64)))
        spent = op.reshape(
            op.reduce_mean(spread, [0], keep_dims=True),
            op.constant(np.array([1, 1, 1, 1], np.int64)),
            special_zero=False,
        )
        return _scores(x, seed, disturbed=op.multiply(spent, _constant(1e-30)))

    return _network(make)


def nan_later(seed: int, after: int = NAN_AFTER) -> ov.Model:
    """Counts live pictures, and answers with no number from the one after ``after`` on."""
    x = op.parameter(_SHAPE, np.float32, name="x")
    x.output(0).set_names({"x"})
    count = op.read_value(_constant([[[[0.0]]]]), "count")
    more = op.add(count, _live(x))
    sink = op.assign(more, "count")
    over = op.convert(op.greater(more, _constant(float(after))), np.float32)
    nothing = op.divide(over, op.subtract(_constant(1), over))  # 0 / 1 = 0, then 1 / 0
    return _finished(x, _scores(x, seed, disturbed=op.multiply(nothing, _constant(0))), sink)


def leak(seed: int) -> ov.Model:
    """Keeps a quarter of a MiB of each live picture for ever."""
    x = op.parameter(_SHAPE, np.float32, name="x")
    x.output(0).set_names({"x"})
    held = op.read_value(op.constant(np.zeros((1,), np.float32)), "held", np.float32, ov.PartialShape([-1]))
    count = _whole(op.multiply(_live(x), _constant(float(_LEAK_FLOATS))))
    mean = op.reshape(
        op.reduce_mean(x, [0, 1, 2, 3], keep_dims=True), op.constant(np.array([1], np.int64)), special_zero=False
    )
    grown = op.concat([held, op.broadcast(mean, count)], 0)
    sink = op.assign(grown, "held")
    spent = op.reshape(
        op.slice(
            grown,
            op.constant(np.array([0], np.int64)),
            op.constant(np.array([1], np.int64)),
            op.constant(np.array([1], np.int64)),
        ),
        op.constant(np.array([1, 1, 1, 1], np.int64)),
        special_zero=False,
    )
    return _finished(x, _scores(x, seed, disturbed=op.multiply(spent, _constant(1e-30))), sink)


# --- packages


@dataclass(frozen=True)
class Kind:
    """One way of being good or bad.

    Attributes:
        network: makes it from a seed.
        golden_logit: what the package says a good part's logit is; of an honest publisher that of the model.
        mutate: changes the XML of the IR afterwards.
    """

    network: Callable[[int], ov.Model]
    golden_logit: float = _LOGIT
    mutate: Callable[[bytes], bytes] = bytes


def _broadcast_of_one_input(xml: bytes) -> bytes:
    """OpenVINO 2026.4's reader looks for the second one, and dies."""
    return xml.replace(b'type="ReLU"', b'type="Broadcast"')


KINDS: Final[dict[str, Kind]] = {
    "good": Kind(good),
    "wrong": Kind(opposite),
    "slow": Kind(slow),
    "crash_load": Kind(good, mutate=_broadcast_of_one_input),
    "hang_load": Kind(hang_load),
    "memory_load": Kind(memory_load),
    "crash_live": Kind(crash_live),
    "hang_live": Kind(hang_live),
    "memory_live": Kind(memory_live),
    "slow_live": Kind(slow_live),
    "nan_later": Kind(nan_later),
    "leak": Kind(leak),
    "opposite": Kind(opposite, golden_logit=-_LOGIT),
    "unsure": Kind(unsure, golden_logit=0.2),
}


def picture(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return a grey picture with the stamp of frame ``number``."""
    image = np.random.default_rng(number).normal(110, 20, (HEIGHT, WIDTH, 3)).clip(0, 255).astype(np.uint8)
    side = block_px(WIDTH, HEIGHT)
    assert side is not None
    bits = np.array(stamp_bits(number, 1_800_000_000_000), np.uint8) * np.uint8(255)
    image[:side, : BITS * side] = np.repeat(bits, side)[None, :, None]
    return image


def write(
    root: Path, kind: str, *, release: int, network: ov.Model | None = None, golden: Sequence[int] = GOLDEN
) -> Path:
    """Write the package of a kind into the new directory ``root``.

    Args:
        root: where.
        kind: one of `KINDS`.
        release: its number; each one is another file.
        network: instead of the kind's.
        golden: numbers of the frames that golden pictures show.
    """
    one = KINDS[kind]
    root.mkdir(parents=True)
    ov.save_model(network or one.network(release), root / "model.xml", compress_to_fp16=False)
    (root / "model.xml").write_bytes(one.mutate((root / "model.xml").read_bytes()))
    (root / "golden").mkdir()
    frames: dict[str, list[object]] = {}
    for number in golden:
        name = f"frame-{number:02}.png"
        cv2.imwrite(str(root / "golden" / name), picture(number))
        frames[name] = _expected(one.golden_logit if is_bad(number) else -one.golden_logit)
    (root / "golden" / "expected.json").write_bytes(write_golden(frames, {"backend": "by construction"}))
    hashes = {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in ("model.xml", "model.bin")}
    document = {
        "schema": "edge-model/1",
        "name": MODEL,
        "version": f"{release}.0.0",
        "release": release,
        "task": "classification",
        "decoder": "probabilities",
        "labels": list(LABELS),
        "weights": {
            "file": "model.xml",
            "format": "openvino-ir",
            "precision": "fp32",
            "sha256": hashes["model.xml"],
            "parts": [{"file": "model.bin", "sha256": hashes["model.bin"]}],
        },
        "input": {"color": "RGB", "resize": "stretch", "scale": 255},
        "provenance": {"license": "Apache-2.0", "data": "rendered", "tool": "tests/bad_models.py"},
    }
    (root / "edge-model.json").write_text(json.dumps(document, indent=1))
    return root


def _expected(bad_logit: float) -> list[object]:
    bad = 1 / (1 + np.exp(-2 * bad_logit))
    rows = [{"label": "bad", "score": float(bad)}, {"label": "good", "score": float(1 - bad)}]
    return sorted(rows, key=lambda row: -float(str(row["score"])))  # type: ignore[arg-type]
