"""Structured mutants of OpenVINO IR: an `.xml` that is still XML and a `.bin`, with one to three things wrong."""

from __future__ import annotations

import copy
import random
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

EXTREMES: Final = (
    "-9223372036854775808",
    "-2147483648",
    "-1",
    "0",
    "1",
    "4096",
    "2147483648",
    "4611686018427387904",
    "x",
)
KINDS: Final = (
    *("Add", "Broadcast", "Concat", "Const", "Convert", "Convolution", "Gather", "GatherND", "If", "Interpolate"),
    *("LSTMCell", "Loop", "MatMul", "MaxPool", "Multiply", "NonMaxSuppression", "NormalizeL2", "Pad", "Parameter"),
    *("ReLU", "ReduceMean", "Reshape", "Result", "ScatterUpdate", "ShapeOf", "SoftMax", "Split", "StridedSlice"),
    *("TensorIterator", "Tile", "TopK", "Transpose", "Unsqueeze", "VariadicSplit"),
)


def ir_mutant(xml: bytes, weights: bytes, seed: str) -> tuple[str, bytes, bytes]:
    """Return what was done, for people, and both files; the same seed gives the same bytes."""
    rng = random.Random(seed)
    root = ET.fromstring(xml)
    done = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = rng.choice(CHANGES)
        change(root, rng)
        done.append(change.__name__.strip("_"))
    if rng.random() < 0.1:
        weights = weights[: rng.choice((0, 1, len(weights) // 2))]
        done.append("cut_weights")
    if rng.random() < 0.1:
        weights = bytes(rng.randbytes(min(64, len(weights)))) + weights[64:]
        done.append("spoil_weights")
    return "+".join(done), ET.tostring(root), weights


def _layer(root: ET.Element, rng: random.Random) -> ET.Element:
    return rng.choice(list(root.iter("layer")))


def _pick(root: ET.Element, rng: random.Random, path: str) -> ET.Element | None:
    found = root.findall(path)
    return rng.choice(found) if found else None


def _attribute(root: ET.Element, rng: random.Random) -> None:
    data = _pick(root, rng, ".//layer/data")
    if data is not None and data.attrib:
        name = rng.choice(sorted(data.attrib))
        count = data.attrib[name].count(",") + 1
        values = data.attrib[name].split(",")
        values[rng.randrange(count)] = rng.choice(EXTREMES)
        data.set(name, ",".join(values))


def _drop_attribute(root: ET.Element, rng: random.Random) -> None:
    data = _pick(root, rng, ".//layer/data")
    if data is not None and data.attrib:
        del data.attrib[rng.choice(sorted(data.attrib))]


def _kind(root: ET.Element, rng: random.Random) -> None:
    _layer(root, rng).set("type", rng.choice(KINDS))


def _version(root: ET.Element, rng: random.Random) -> None:
    _layer(root, rng).set("version", rng.choice(("opset1", "opset4", "opset8", "opset13", "opset99", "extension", "")))


def _number(root: ET.Element, rng: random.Random) -> None:
    _layer(root, rng).set("id", rng.choice(("0", "1", *EXTREMES)))


def _size(root: ET.Element, rng: random.Random) -> None:
    dim = _pick(root, rng, ".//port/dim")
    if dim is not None:
        dim.text = rng.choice(EXTREMES)


def _drop_port(root: ET.Element, rng: random.Random) -> None:
    layer = _layer(root, rng)
    ports = layer.find(rng.choice(("input", "output")))
    if ports is not None and len(ports):
        ports.remove(rng.choice(list(ports)))


def _repeat_port(root: ET.Element, rng: random.Random) -> None:
    ports = _layer(root, rng).find(rng.choice(("input", "output")))
    if ports is not None and len(ports):
        ports.append(copy.deepcopy(ports[0]))


def _drop_edge(root: ET.Element, rng: random.Random) -> None:
    edges = root.find("edges")
    if edges is not None and len(edges):
        edges.remove(rng.choice(list(edges)))


def _edge(root: ET.Element, rng: random.Random) -> None:
    edge = _pick(root, rng, "./edges/edge")
    if edge is not None:
        ids = [layer.get("id", "0") for layer in root.iter("layer")]
        edge.set(rng.choice(("from-layer", "to-layer", "from-port", "to-port")), rng.choice((*ids, *EXTREMES)))


def _circle(root: ET.Element, rng: random.Random) -> None:
    edge = _pick(root, rng, "./edges/edge")
    if edge is not None:
        edge.set("from-layer", edge.get("to-layer", "0"))


def _repeat_edge(root: ET.Element, rng: random.Random) -> None:
    edges = root.find("edges")
    if edges is not None and len(edges):
        edges.append(copy.deepcopy(rng.choice(list(edges))))


def _drop_layer(root: ET.Element, rng: random.Random) -> None:
    layers = root.find("layers")
    if layers is not None and len(layers):
        layers.remove(rng.choice(list(layers)))


def _repeat_layer(root: ET.Element, rng: random.Random) -> None:
    layers = root.find("layers")
    if layers is not None and len(layers):
        layers.append(copy.deepcopy(rng.choice(list(layers))))


def _constant(root: ET.Element, rng: random.Random) -> None:
    data = _pick(root, rng, ".//layer[@type='Const']/data")
    if data is not None:
        data.set(
            rng.choice(("offset", "size", "shape", "element_type")), rng.choice((*EXTREMES, "i4", "string", "f64"))
        )


def _wrap(root: ET.Element, rng: random.Random) -> None:
    """One more layer with the whole model in its body, in the body of another, and so on."""
    layers, edges = root.find("layers"), root.find("edges")
    if layers is None or edges is None:
        return
    inside = [copy.deepcopy(layers), copy.deepcopy(edges)]
    for _ in range(rng.choice((1, 2, 6, 60))):
        layer = ET.Element("layer", {"id": "9999", "name": "w", "version": "opset8"})
        kind, body = rng.choice((("TensorIterator", "body"), ("Loop", "body"), ("If", "then_body")))
        layer.set("type", kind)
        ET.SubElement(layer, body).extend(inside)
        outer = ET.Element("layers")
        outer.append(layer)
        inside = [outer, ET.Element("edges")]
    layers.extend(inside[0])


CHANGES: Final[tuple[Callable[[ET.Element, random.Random], None], ...]] = (
    *(_attribute, _attribute, _attribute, _drop_attribute, _kind, _kind, _version, _number, _size, _size, _drop_port),
    *(_repeat_port, _drop_edge, _edge, _edge, _circle, _repeat_edge, _drop_layer, _repeat_layer, _constant, _constant),
    *(_wrap,),
)
