from __future__ import annotations

import argparse

import pytest

from edge_runtime.app import plan
from edge_runtime.camera import simulated
from edge_runtime.cli import dispatch, values
from edge_runtime.engine import bench as engine_bench


@pytest.mark.parametrize("text", ["16x16", "1024x576", "16384x16", "7000x5000"])
def test_sizes_that_can_be_shown_are_taken(text: str) -> None:
    assert values.size(text) == text


@pytest.mark.parametrize(
    "text", ["15x16", "1x1", "16385x16", "99999x1", "7000x6000", "16384x16384", "16", "x", "1e2x5"]
)
def test_sizes_that_no_camera_process_takes_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected WIDTHxHEIGHT"):
        values.size(text)


def test_the_bounds_are_those_of_the_parts_that_act_on_them() -> None:
    from edge_runtime.cli import bench

    assert (values.SIDE_MIN, values.PIXELS_MAX) == (plan.SIDE_MIN, plan.MAX_PIXELS)
    assert values.SIDE_MAX == simulated.SIDE_MAX_PX
    assert bench.IN_FLIGHT_MAX == engine_bench.REQUESTS_LIMIT


@pytest.mark.parametrize("text", ["0", "0.5", "86400"])
def test_numbers_within_their_bounds_are_taken(text: str) -> None:
    assert values.number(0, 86_400)(text) == float(text)


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "-0.1", "86401", "", "x"])
def test_numbers_outside_of_them_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="from 0 to 86400"):
        values.number(0, 86_400)(text)


@pytest.mark.parametrize("text", ["0", "17", "1.0", "-1", "٣", "9" * 5000, "", "1_0"])
def test_whole_numbers_outside_of_their_bounds_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="whole number from 1 to 16"):
        values.whole(1, 16)(text)
    assert values.whole(1, 16)("16") == 16


@pytest.mark.parametrize(
    "words",
    [
        ("bench", "m.onnx", "--size", "8x8"),
        ("bench", "m.onnx", "--size", "20000x20000"),
        ("bench", "m.onnx", "--in-flight", "0"),
        ("bench", "m.onnx", "--in-flight", "17"),
        ("bench", "m.onnx", "--seconds", "1e9"),
        ("cameras", "probe", "sim:bars", "--seconds", "nan"),
        ("cameras", "probe", "sim:bars", "--seconds", "-1"),
    ],
)
def test_values_out_of_bounds_are_a_usage_error(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        dispatch(list(words))
    assert caught.value.code == 2
    assert "expected" in capsys.readouterr().err
