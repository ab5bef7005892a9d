"""Structured mutants of ONNX models: what a parser takes for a model, built in a way that nobody meant.

    for number in range(100):
        name, content = mutant(model, seed=f"selfie/{number}")

The same model and seed give the same bytes. Random bytes find nothing in engines: everything here stays a message of
protobuf, and one to three things in it are wrong: wiring, attributes, types, shapes, weights, control flow.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import onnx
from onnx import AttributeProto, TensorProto, helper

if TYPE_CHECKING:
    from collections.abc import Callable

EXTREMES: Final = (-(2**63), -(2**31), -(2**31) - 1, -65536, -2, -1, 0, 1, 2, 3, 65536, 2**31 - 1, 2**31, 2**32)
EXTREMES_64: Final = (*EXTREMES, 2**62, 2**63 - 1)
FLOATS: Final = (float("nan"), float("inf"), float("-inf"), 0.0, -1.0, 1e-45, 3.4e38)
DTYPES: Final = (1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 21, 0, 99)
OPERATORS: Final = (
    *("Abs", "Add", "And", "ArgMax", "AveragePool", "BatchNormalization", "Cast", "Clip", "Compress", "Concat"),
    *("ConstantOfShape", "Conv", "ConvInteger", "ConvTranspose", "CumSum", "DepthToSpace", "DequantizeLinear"),
    *("Dropout", "DynamicQuantizeLinear", "Einsum", "Erf", "Expand", "EyeLike", "Flatten", "GRU", "Gather"),
    *("GatherElements", "GatherND", "Gemm", "GlobalAveragePool", "GridSample", "Hardmax", "Identity", "If"),
    *("InstanceNormalization", "LRN", "LSTM", "LayerNormalization", "Loop", "LpNormalization", "MatMul"),
    *("MatMulInteger", "MaxPool", "MaxRoiPool", "MaxUnpool", "Mod", "NonMaxSuppression", "NonZero", "OneHot", "PRelu"),
    *("Pad", "QLinearConv", "QLinearMatMul", "QuantizeLinear", "RNN", "RandomNormal", "Range", "ReduceMax"),
    *("ReduceSum", "Reshape", "Resize", "ReverseSequence", "RoiAlign", "Scan", "ScatterElements", "ScatterND"),
    *("SequenceAt", "SequenceConstruct", "Shape", "Slice", "SpaceToDepth", "Split", "SplitToSequence", "Squeeze"),
    *(
        "StringNormalizer",
        "Sum",
        "Tile",
        "TopK",
        "Transpose",
        "Trilu",
        "Unique",
        "Unsqueeze",
        "Upsample",
        "Where",
        "Xor",
    ),
)


def mutant(model: onnx.ModelProto, seed: str) -> tuple[str, bytes]:
    """Return what was done to a copy of ``model``, for people, and its bytes."""
    rng = random.Random(seed)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    done = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = rng.choice(CHANGES)
        change(copy, rng)
        done.append(change.__name__.strip("_"))
    return "+".join(done), copy.SerializeToString(deterministic=True)


# wiring


def _node(model: onnx.ModelProto, rng: random.Random) -> onnx.NodeProto:
    return rng.choice(model.graph.node)


def _drop_input(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    if node.input:
        del node.input[rng.randrange(len(node.input))]


def _keep_one_input(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    del node.input[rng.choice((0, 1)) :]


def _blank_input(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    if node.input:
        node.input[rng.randrange(len(node.input))] = ""


def _repeat_input(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    if node.input:
        node.input.extend([rng.choice(node.input)] * rng.choice((1, 2, 40)))


def _swap_inputs(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    names = list(node.input)
    rng.shuffle(names)
    node.input[:] = names


def _other_input(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    names = [one.name for one in model.graph.initializer] + [name for one in model.graph.node for name in one.output]
    if node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice([*names, "x", "nobody"])


def _circle(model: onnx.ModelProto, rng: random.Random) -> None:
    first, last = sorted(rng.sample(range(len(model.graph.node)), 2))
    node = model.graph.node[first]
    if node.input and model.graph.node[last].output:
        node.input[0] = model.graph.node[last].output[0]


def _extra_output(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    node.output.extend([f"more{i}" for i in range(rng.choice((1, 3, 70)))])


def _same_output(model: onnx.ModelProto, rng: random.Random) -> None:
    one, other = _node(model, rng), _node(model, rng)
    if one.output and other.output:
        one.output[0] = other.output[0]


def _remove_node(model: onnx.ModelProto, rng: random.Random) -> None:
    del model.graph.node[rng.randrange(len(model.graph.node))]


def _repeat_node(model: onnx.ModelProto, rng: random.Random) -> None:
    model.graph.node.append(_node(model, rng))


def _reverse_nodes(model: onnx.ModelProto, _rng: random.Random) -> None:
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _swap_operator(model: onnx.ModelProto, rng: random.Random) -> None:
    _node(model, rng).op_type = rng.choice(OPERATORS)


def _swap_domain(model: onnx.ModelProto, rng: random.Random) -> None:
    _node(model, rng).domain = rng.choice(("com.microsoft", "ai.onnx.ml", "vendor", "org.openvinotoolkit"))


def _rename_output(model: onnx.ModelProto, rng: random.Random) -> None:
    model.graph.output[0].name = rng.choice(("", "x", "nobody", "y\0z", model.graph.node[0].output[0], "y" * 5000))


def _double_output(model: onnx.ModelProto, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 3))):
        model.graph.output.append(model.graph.output[0])


# attributes


def _numbers(model: onnx.ModelProto, rng: random.Random) -> AttributeProto | None:
    found = [a for n in model.graph.node for a in n.attribute if a.type in (AttributeProto.INT, AttributeProto.INTS)]
    return rng.choice(found) if found else None


def _extreme_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    attribute = _numbers(model, rng)
    if attribute is None:
        return
    if attribute.type == AttributeProto.INT:
        attribute.i = rng.choice(EXTREMES_64)
    elif attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(EXTREMES_64)


def _resize_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    attribute = _numbers(model, rng)
    if attribute is not None and attribute.type == AttributeProto.INTS:
        attribute.ints[:] = [rng.choice((0, 1, 2, 5))] * rng.choice((0, 1, 3, 5, 9, 200))


def _float_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    found = [a for n in model.graph.node for a in n.attribute if a.type == AttributeProto.FLOAT]
    if found:
        rng.choice(found).f = rng.choice(FLOATS)


def _retype_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    found = [a for n in model.graph.node for a in n.attribute]
    if found:
        rng.choice(found).type = rng.choice((1, 2, 3, 4, 5, 6, 7, 8, 13))


def _drop_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    if node.attribute:
        del node.attribute[rng.randrange(len(node.attribute))]


def _known_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    names = ("axis", "axes", "batch_dims", "group", "keepdims", "largest", "num_outputs", "block_size", "blocksize")
    more = (
        "ceil_mode",
        "hidden_size",
        "exclusive",
        "k",
        "to",
        "direction",
        "mode",
        "storage_order",
        "noop_with_empty_axes",
    )
    name = rng.choice((*names, *more))
    node = _node(model, rng)
    kept = [one for one in node.attribute if one.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, rng.choice(EXTREMES_64))])


# weights, types and shapes


def _weight(model: onnx.ModelProto, rng: random.Random) -> onnx.TensorProto | None:
    return rng.choice(model.graph.initializer) if model.graph.initializer else None


def _small_whole(model: onnx.ModelProto, rng: random.Random) -> onnx.TensorProto | None:
    found = [
        one for one in model.graph.initializer if one.data_type == TensorProto.INT64 and 0 < len(one.raw_data) < 512
    ]
    return rng.choice(found) if found else None


def _reshape_weight(model: onnx.ModelProto, rng: random.Random) -> None:
    weight = _weight(model, rng)
    if weight is not None:
        sizes = (*weight.dims, 0, 1, -1, 2**31, 2**62)
        weight.dims[:] = [
            rng.choice(sizes) for _ in range(rng.choice((0, 1, len(weight.dims), len(weight.dims) + 1, 9)))
        ]


def _permute_weight(model: onnx.ModelProto, rng: random.Random) -> None:
    weight = _weight(model, rng)
    if weight is not None:
        dims = list(weight.dims)
        rng.shuffle(dims)
        weight.dims[:] = rng.choice((dims, [1, *dims], [*dims, 1], [dims[0], 0] if dims else [0]))


def _cut_weight(model: onnx.ModelProto, rng: random.Random) -> None:
    weight = _weight(model, rng)
    if weight is not None:
        weight.raw_data = weight.raw_data[: rng.choice((0, 1, len(weight.raw_data) // 2))]


def _retype_weight(model: onnx.ModelProto, rng: random.Random) -> None:
    weight = _weight(model, rng)
    if weight is not None:
        weight.data_type = rng.choice(DTYPES)


def _spoil_weight(model: onnx.ModelProto, rng: random.Random) -> None:
    weight = _weight(model, rng)
    if weight is not None and weight.raw_data:
        weight.raw_data = rng.randbytes(min(len(weight.raw_data), 4096)) + weight.raw_data[4096:]


def _extreme_operand(model: onnx.ModelProto, rng: random.Random) -> None:
    weight = _small_whole(model, rng)
    if weight is not None:
        values = [
            int.from_bytes(weight.raw_data[i : i + 8], "little", signed=True) for i in range(0, len(weight.raw_data), 8)
        ]
        values[rng.randrange(len(values))] = rng.choice(EXTREMES_64)
        weight.raw_data = b"".join(value.to_bytes(8, "little", signed=True) for value in values)


def _near_operand(model: onnx.ModelProto, rng: random.Random) -> None:
    weight = _small_whole(model, rng)
    if weight is not None:
        count = len(weight.raw_data) // 8
        weight.raw_data = b"".join(rng.randint(-9, 99).to_bytes(8, "little", signed=True) for _ in range(count))


def _drop_weight(model: onnx.ModelProto, rng: random.Random) -> None:
    if model.graph.initializer:
        del model.graph.initializer[rng.randrange(len(model.graph.initializer))]


def _external_weight(model: onnx.ModelProto, rng: random.Random) -> None:
    weight = _weight(model, rng)
    if weight is not None:
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=rng.choice(("/etc/passwd", "../x", "a\0b", "/dev/zero")))


def _value(model: onnx.ModelProto, rng: random.Random) -> onnx.ValueInfoProto:
    return rng.choice([*model.graph.input, *model.graph.output, *model.graph.value_info])


def _reshape_value(model: onnx.ModelProto, rng: random.Random) -> None:
    dims = _value(model, rng).type.tensor_type.shape.dim
    if dims:
        dims[rng.randrange(len(dims))].dim_value = rng.choice((0, -1, 1, 2, 7, 4097, 2**31, 2**62, -(2**62)))


def _rerank_value(model: onnx.ModelProto, rng: random.Random) -> None:
    shape = _value(model, rng).type.tensor_type.shape
    sizes = [rng.choice((0, 1, 3, 32)) for _ in range(rng.choice((0, 1, 2, 3, 5, 64)))]
    del shape.dim[:]
    for size in sizes:
        shape.dim.add().dim_value = size


def _retype_value(model: onnx.ModelProto, rng: random.Random) -> None:
    _value(model, rng).type.tensor_type.elem_type = rng.choice(DTYPES)


def _opset(model: onnx.ModelProto, rng: random.Random) -> None:
    model.opset_import[0].version = rng.choice((0, 1, 6, 9, 10, 12, 13, 18, 21, 23, 28, 99, 9999, -1))


# what grows


def _answer(model: onnx.ModelProto) -> str:
    """Move the model's answer aside and return its new name, so that something can be put behind it."""
    name = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["inner" if one == name else one for one in node.output]
        node.input[:] = ["inner" if one == name else one for one in node.input]
    return name


def _whole(model: onnx.ModelProto, name: str, values: list[int], shape: list[int] | None = None) -> str:
    model.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, shape or [len(values)], values))
    return name


def _huge(model: onnx.ModelProto, rng: random.Random) -> None:
    """Something that asks for more than there is, alive because its sum goes into the answer, times nothing."""
    name = _answer(model)
    size = rng.choice((2**12, 2**15, 2**20, 2**31, 2**40, 2**62))
    make = helper.make_node
    kinds: dict[str, Callable[[], list[onnx.NodeProto]]] = {
        "fill": lambda: [make("ConstantOfShape", [_whole(model, "h", [size, 64])], ["big"])],
        "expand": lambda: [
            make("ReduceMean", ["x"], ["scalar"], keepdims=0),
            make("Expand", ["scalar", _whole(model, "h", [size, 64])], ["big"]),
        ],
        "tile": lambda: [make("Tile", ["x", _whole(model, "h", [1, 1, size, 1])], ["big"])],
        "pad": lambda: [make("Pad", ["x", _whole(model, "h", [0, 0, 0, 0, 0, 0, size, 0])], ["big"])],
        "range": lambda: [
            make(
                "Range",
                [_whole(model, "a", [0], []), _whole(model, "e", [size], []), _whole(model, "s", [1], [])],
                ["whole"],
            ),
            make("Cast", ["whole"], ["big"], to=1),
        ],
        "resize": lambda: [make("Resize", ["x", "", "", _whole(model, "h", [1, 3, size, 32])], ["big"])],
    }
    model.graph.node.extend(kinds[rng.choice(sorted(kinds))]())
    model.graph.initializer.append(helper.make_tensor("nothing", TensorProto.FLOAT, [], [0.0]))
    model.graph.node.extend(
        [
            make("ReduceMax", ["big"], ["most"], keepdims=0),
            make("Mul", ["most", "nothing"], ["least"]),
            make("Add", ["inner", "least"], [name]),
        ]
    )


def _long_chain(model: onnx.ModelProto, rng: random.Random) -> None:
    name, count, last = _answer(model), rng.choice((50, 400, 3000)), "inner"
    for i in range(count):
        operator = rng.choice(("Relu", "Neg", "Sigmoid"))
        model.graph.node.append(helper.make_node(operator, [last], [name if i == count - 1 else f"l{i}"]))
        last = f"l{i}"


def _doubling(model: onnx.ModelProto, rng: random.Random) -> None:
    name, count, last = _answer(model), rng.choice((8, 16, 24, 40)), "inner"
    for i in range(count):
        model.graph.node.append(helper.make_node("Concat", [last, last], [f"d{i}"], axis=0))
        last = f"d{i}"
    model.graph.node.append(helper.make_node("ReduceMax", [last], [name], axes=[0], keepdims=1))


def _sums(model: onnx.ModelProto, rng: random.Random) -> None:
    """Each of two numbers is made of both numbers before: 2**n ways lead to the answer."""
    name, count, one, other = _answer(model), rng.choice((10, 30, 60)), "inner", "inner"
    for i in range(count):
        model.graph.node.append(helper.make_node("Add", [one, other], [f"s{i}"]))
        model.graph.node.append(helper.make_node("Mul", [one, other], [f"p{i}"]))
        one, other = f"s{i}", f"p{i}"
    model.graph.node.append(helper.make_node("Add", [one, other], [name]))


# control flow


def _nest(model: onnx.ModelProto, rng: random.Random) -> None:
    """The whole answer inside `If` inside `If` ..."""
    name = _answer(model)
    answer = onnx.ValueInfoProto()
    answer.CopyFrom(model.graph.output[0])
    nodes, last = [helper.make_node("Identity", ["inner"], ["n0"])], "n0"
    for level in range(1, rng.choice((1, 2, 4, 6, 12, 20))):
        then, other = (helper.make_graph(nodes, "t", [], [_named(answer, last)]), f"o{level}")
        rest = helper.make_graph([helper.make_node("Neg", ["inner"], [other])], "e", [], [_named(answer, other)])
        made = f"n{level}"
        nodes = [
            helper.make_node("ReduceMax", ["inner"], [f"m{level}"], keepdims=0),
            helper.make_node("Cast", [f"m{level}"], [f"c{level}"], to=TensorProto.BOOL),
            helper.make_node("If", [f"c{level}"], [made], then_branch=then, else_branch=rest),
        ]
        last = made
    model.graph.node.extend([*nodes, helper.make_node("Identity", [last], [name])])


def _loop(model: onnx.ModelProto, rng: random.Random) -> None:
    name = _answer(model)
    answer = model.graph.output[0]
    turns = rng.choice((0, -1, 1, 5, 10**6, 2**31, 2**62, None))
    still = rng.choice(("Identity", "Not"))
    body = helper.make_graph(
        [helper.make_node(still, ["go_on"], ["still"]), helper.make_node("Abs", ["before"], ["after"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            _named(answer, "before"),
        ],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, []), _named(answer, "after")],
    )
    model.graph.initializer.append(helper.make_tensor("begin", TensorProto.BOOL, [], [rng.random() < 0.8]))
    count = "" if turns is None else _whole(model, "turns", [turns], [])
    model.graph.node.append(helper.make_node("Loop", [count, "begin", "inner"], [name], body=body))


def _named(info: onnx.ValueInfoProto, name: str) -> onnx.ValueInfoProto:
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(info)
    copy.name = name
    return copy


def _branch_body(model: onnx.ModelProto, rng: random.Random) -> None:
    """A change inside the body of an operator that has one."""
    bodies = [a.g for n in model.graph.node for a in n.attribute if a.type == AttributeProto.GRAPH]
    if bodies:
        body = rng.choice(bodies)
        if rng.random() < 0.5 and body.output:
            body.output[0].name = rng.choice(("", "x", "nobody"))
        elif body.input:
            del body.input[0]
        else:
            body.node[0].input[0] = rng.choice(("nobody", body.node[0].output[0]))


def _function(model: onnx.ModelProto, _rng: random.Random) -> None:
    body = [helper.make_node("Twice", ["a"], ["b"], domain="local")]
    opsets = [helper.make_opsetid("local", 1)]
    model.functions.append(helper.make_function("local", "Twice", ["a"], ["b"], body, opsets))


def _scatter_by_data(model: onnx.ModelProto, rng: random.Random) -> None:
    """An index that is computed from the picture and lies far outside."""
    name = _answer(model)
    far = rng.choice((4.0, 1e3, 5e9, -5e9, 1e18))
    model.graph.initializer.append(helper.make_tensor("far", TensorProto.FLOAT, [], [far]))
    model.graph.initializer.append(helper.make_tensor("flat9", TensorProto.INT64, [1], [-1]))
    make = helper.make_node
    operator = rng.choice(("ScatterElements", "GatherElements", "Gather"))
    inputs = ["flat", "where"] + (["place0"] if operator == "ScatterElements" else [])
    model.graph.node.extend(
        [
            make("ReduceMean", ["x"], ["level"], keepdims=0),
            make("Add", ["level", "far"], ["place"]),
            make("Reshape", ["place", "flat9"], ["place0"]),
            make("Cast", ["place0"], ["where"], to=TensorProto.INT64),
            make("Reshape", ["inner", "flat9"], ["flat"]),
            make(operator, inputs, ["picked"], axis=0),
            make("ReduceMax", ["picked"], ["one_of"], keepdims=0),
            make("Add", ["inner", "one_of"], [name]),
        ]
    )


CHANGES: Final[tuple[Callable[[onnx.ModelProto, random.Random], None], ...]] = (
    *(_drop_input, _keep_one_input, _blank_input, _repeat_input, _swap_inputs, _other_input, _circle, _extra_output),
    *(_same_output, _remove_node, _repeat_node, _reverse_nodes, _swap_operator, _swap_operator, _swap_domain),
    *(_rename_output, _double_output, _extreme_attribute, _extreme_attribute, _resize_attribute, _float_attribute),
    *(_retype_attribute, _drop_attribute, _known_attribute, _reshape_weight, _permute_weight, _cut_weight),
    *(_retype_weight, _spoil_weight, _extreme_operand, _extreme_operand, _near_operand, _drop_weight),
    *(_external_weight, _reshape_value, _rerank_value, _retype_value, _opset, _huge, _long_chain, _doubling, _sums),
    *(_nest, _loop, _branch_body, _function, _scatter_by_data),
)
"""Twice what finds most."""
