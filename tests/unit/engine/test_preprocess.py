from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.core.errors import DataError
from edge_runtime.engine.postprocess import to_frame
from edge_runtime.engine.preprocess import Preprocessor, TensorWriter, check_frame
from tests.unit.engine.specs import input_spec

BLUE, GREEN, RED = (200, 10, 20), (10, 200, 20), (10, 20, 200)  # as cameras write them: B, G, R


def picture(height: int, width: int, color: tuple[int, ...] = BLUE) -> np.ndarray:
    return np.full((height, width, len(color)), color, np.uint8)


def drawn(frame: np.ndarray, **spec: Any) -> tuple[np.ndarray, Any]:
    described = input_spec(**spec)
    canvas = np.zeros((*described.size, described.channels), np.uint8)
    transform = Preprocessor(described).fill(frame, canvas)
    return canvas, transform


def test_stretch_fills_the_canvas() -> None:
    canvas, transform = drawn(picture(64, 16))
    assert (canvas == BLUE).all()
    assert (transform.scale_x, transform.scale_y, transform.offset_x, transform.offset_y) == (2, 0.5, 0, 0)


def test_letterbox_keeps_the_aspect_in_the_middle_of_a_grey_border() -> None:
    canvas, transform = drawn(picture(32, 64), resize="letterbox", pad=7)
    assert (canvas[8:24] == BLUE).all()
    assert (canvas[:8] == 7).all()
    assert (canvas[24:] == 7).all()
    assert (transform.scale_x, transform.scale_y, transform.offset_x, transform.offset_y) == (0.5, 0.5, 0, 8)


def test_fit_keeps_the_aspect_at_the_top_left() -> None:
    canvas, transform = drawn(picture(64, 32), resize="fit")
    assert (canvas[:, :16] == BLUE).all()
    assert (canvas[:, 16:] == 114).all()
    assert (transform.offset_x, transform.offset_y) == (0, 0)


def test_crop_sees_the_middle() -> None:
    frame = picture(32, 96, GREEN)
    frame[:, 32:64] = RED
    canvas, transform = drawn(frame, resize="crop")
    assert (canvas == RED).all()
    assert (transform.scale_x, transform.offset_x) == (1, -32)


def test_crop_may_keep_a_fraction_only() -> None:
    frame = picture(64, 64, GREEN)
    frame[16:48, 16:48] = RED
    canvas, transform = drawn(frame, resize="crop", crop=0.5)
    assert (canvas == RED).all()
    assert (transform.scale_x, transform.offset_x, transform.offset_y) == (1, -16, -16)


@pytest.mark.parametrize("interpolation", ["linear", "nearest", "area", "cubic"])
def test_every_interpolation_of_the_manifest_exists(interpolation: str) -> None:
    canvas, _ = drawn(picture(50, 70), interpolation=interpolation)
    assert (canvas == BLUE).all()


def test_the_border_is_drawn_again_when_the_frame_size_changes() -> None:
    spec = input_spec(resize="letterbox")
    canvas = np.zeros((32, 32, 3), np.uint8)
    preprocessor = Preprocessor(spec)
    preprocessor.fill(picture(64, 64), canvas)
    preprocessor.fill(picture(32, 64), canvas)
    assert (canvas[:8] == 114).all()
    assert preprocessor.fill(picture(64, 64), canvas).offset_y == 0
    assert (canvas == BLUE).all()


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 1)])
def test_a_grey_frame_becomes_three_equal_channels(shape: tuple[int, ...]) -> None:
    canvas, _ = drawn(np.full(shape, 99, np.uint8), resize="letterbox")
    assert canvas.shape == (32, 32, 3)
    assert (canvas == 99).all()


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 1)])
def test_a_grey_frame_stays_grey_for_a_grey_model(shape: tuple[int, ...]) -> None:
    canvas, _ = drawn(np.full(shape, 99, np.uint8), color="GRAY")
    assert canvas.shape == (32, 32, 1)
    assert (canvas == 99).all()


def test_a_colour_frame_becomes_luminance_for_a_grey_model() -> None:
    canvas, _ = drawn(picture(64, 64, RED), color="GRAY")
    assert canvas[0, 0, 0] == round(0.299 * 200 + 0.587 * 20 + 0.114 * 10)  # ITU-R BT.601


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "fit", "crop"])
@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1)])
def test_the_smallest_and_thinnest_frames_work(resize: str, size: tuple[int, int]) -> None:
    canvas, transform = drawn(picture(*size), resize=resize)
    assert (canvas == BLUE).all(axis=2).any()
    assert (transform.height, transform.width) == size


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (np.zeros((4, 4, 3), np.float32), "expected pixels of uint8, found float32"),
        (np.zeros((4, 4), np.uint16), "expected pixels of uint8, found uint16"),
        (None, "expected pixels of uint8, found NoneType"),
        ([[1]], "expected pixels of uint8, found list"),
        (np.zeros((4, 4, 4), np.uint8), "found (4, 4, 4)"),
        (np.zeros((4, 4, 2), np.uint8), "found (4, 4, 2)"),
        (np.zeros((0, 4, 3), np.uint8), "found (0, 4, 3)"),
        (np.zeros((4, 0), np.uint8), "found (4, 0)"),
        (np.zeros(4, np.uint8), "found (4,)"),
        (np.zeros((1, 4, 4, 3), np.uint8), "found (1, 4, 4, 3)"),
        (np.zeros((4, 8, 3), np.uint8)[:, ::2], "not contiguous"),
        (np.zeros((4, 4, 3), np.uint8)[:, :, ::-1], "rows of the picture are not contiguous"),
    ],
    ids=lambda value: value if isinstance(value, str) else "frame",
)
def test_what_is_no_picture_is_refused(frame: object, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        check_frame(frame)
    assert caught.value.code == "frame.invalid"
    assert expected in caught.value.message


@given(
    size=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    canvas=st.tuples(st.integers(8, 64), st.integers(8, 64)),
    resize=st.sampled_from(["stretch", "letterbox", "fit", "crop"]),
    seed=st.integers(0, 1 << 30),
)
def test_a_box_that_was_drawn_comes_back_to_its_place(
    size: tuple[int, int], canvas: tuple[int, int], resize: str, seed: int
) -> None:
    _, moved = drawn(np.zeros((*size, 3), np.uint8), size=canvas, resize=resize)
    lot = np.random.default_rng(seed).random(4)
    x1, x2 = sorted(lot[:2] * size[1])
    y1, y2 = sorted(lot[2:] * size[0])
    corners = [
        [
            x1 * moved.scale_x + moved.offset_x,
            y1 * moved.scale_y + moved.offset_y,
            x2 * moved.scale_x + moved.offset_x,
            y2 * moved.scale_y + moved.offset_y,
        ]
    ]
    found = to_frame(np.array(corners, np.float64), moved)
    assert found[0].tolist() == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=1e-6)


COLOURED = np.arange(32 * 32 * 3, dtype=np.int64).astype(np.uint8).reshape(32, 32, 3)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("color", ["RGB", "BGR"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("mean", "std", "scale"), [((0.0,), (1.0,), 255.0), ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7), 255.0)])
def test_the_tensor_is_what_the_formula_says(
    layout: str, color: str, dtype: str, mean: tuple[float, ...], std: tuple[float, ...], scale: float
) -> None:
    spec = input_spec(layout=layout, color=color, dtype=dtype, mean=mean, std=std, scale=scale)
    writer = TensorWriter(spec)
    writer.write(COLOURED)

    ordered = COLOURED[:, :, ::-1] if color == "RGB" else COLOURED
    expected = (ordered / scale - np.array(mean)) / np.array(std)
    if layout == "NCHW":
        expected = expected.transpose(2, 0, 1)
    assert writer.tensor.dtype == dtype
    assert writer.tensor.shape == spec.shape
    assert np.allclose(writer.tensor[0], expected, atol=1e-6 if dtype == "float32" else 2e-3)


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_a_tensor_of_whole_numbers_holds_the_pixels(dtype: str) -> None:
    writer = TensorWriter(input_spec(dtype=dtype, layout="NHWC", scale=1.0))
    writer.write(COLOURED)
    assert writer.tensor.dtype == dtype
    assert (writer.tensor[0] == COLOURED[:, :, ::-1]).all()


def test_a_grey_tensor_has_one_channel() -> None:
    writer = TensorWriter(input_spec(color="GRAY", scale=1.0, mean=(10.0,)))
    writer.write(COLOURED[:, :, :1].copy())
    assert np.array_equal(writer.tensor[0, 0], COLOURED[:, :, 0].astype(np.float32) - 10)


@pytest.mark.parametrize("size", [(96, 60), (160, 100), (96, 33), (97, 60), (64, 64), (32, 20)])
@pytest.mark.parametrize("resize", ["letterbox", "stretch", "crop"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_is_drawn_as_by_linear_interpolation_to_the_last_bit(
    size: tuple[int, int], resize: str, channels: int
) -> None:
    """Frames three or five times as large as the model's input are drawn without interpolating."""
    width, height = size
    frame = np.random.default_rng(2).integers(0, 255, (height, width, channels)).astype(np.uint8)
    spec = input_spec(size=(20, 32), resize=resize, color="GRAY" if channels == 1 else "RGB")
    drawn, expected = (np.zeros((20, 32, channels), np.uint8) for _ in range(2))
    preprocessor = Preprocessor(spec)
    preprocessor.fill(frame, drawn)
    preprocessor._every = 0
    expected[:] = drawn
    preprocessor.fill(frame, expected)
    assert np.array_equal(drawn, expected)


def test_a_frame_three_times_as_large_is_not_interpolated() -> None:
    preprocessor = Preprocessor(input_spec(size=(32, 32), resize="letterbox"))
    preprocessor.fill(np.zeros((54, 96, 3), np.uint8), np.zeros((32, 32, 3), np.uint8))
    assert preprocessor._every == 3
