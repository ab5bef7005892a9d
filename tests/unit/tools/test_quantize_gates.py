"""What is handed out is decided by figures alone: each way of being worse is refused, and named."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("cv2")
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))

from quantize_model.cpu import needs_reduced_range, vnni_flags
from quantize_model.gates import Figures, Gates, drops, refusals, warnings
from quantize_model.judge import Accuracy, Pace
from quantize_model.recipe import recipes
from quantize_model.report import Measured

BACKENDS = ("openvino", "onnxruntime")


def measured(precision: str, accuracy: float | None, speedup: float = 2.0, invalid: int = 0) -> dict[str, Measured]:
    right = None if accuracy is None else Accuracy("top-1", accuracy)
    return {b: Measured(precision, b, 1, right, Pace(1.0, 1.0, speedup), invalid) for b in BACKENDS}


def figures(before: float | None, after: float | None, **changes: object) -> Figures:
    plain = Figures(
        fp32=measured("fp32", before),
        new=measured("int8", after),
        engines=1.0,
        fidelity=dict.fromkeys(BACKENDS, 1.0),
        images=1000,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # names of fields


def test_a_drop_of_exactly_the_limit_passes_and_more_does_not() -> None:
    assert refusals(figures(0.91, 0.90), Gates()) == ()
    assert drops(figures(0.91, 0.90)) == pytest.approx(dict.fromkeys(BACKENDS, 1.0))
    assert refusals(figures(0.91, 0.899), Gates()) == tuple(
        f"{one} loses 1.10 points (top-1 0.9100 -> 0.8990), at most 1 are allowed" for one in BACKENDS
    )


def test_one_engine_that_loses_is_enough() -> None:
    new = {"openvino": measured("int8", 0.91)["openvino"], "onnxruntime": measured("int8", 0.5)["onnxruntime"]}
    (found,) = refusals(figures(0.91, None, new=new), Gates())
    assert found.startswith("onnxruntime loses 41.00 points")


def test_engines_that_disagree_are_refused_even_when_both_are_right_often_enough() -> None:
    (found,) = refusals(figures(0.8, 0.8, engines=0.919), Gates())
    assert found.startswith("the engines agree in 0.9190 of the cases, at least 0.98 are wanted")


def test_without_labels_fidelity_to_fp32_decides_and_with_labels_it_does_not() -> None:
    low = {"openvino": 0.97, "onnxruntime": 0.99}
    (found,) = refusals(figures(None, None, fidelity=low), Gates())
    assert found.startswith("openvino says the same as fp32 in 0.9700 of the cases")
    assert refusals(figures(0.9, 0.9, fidelity=low), Gates()) == ()


def test_answers_without_sense_are_refused_when_fp32_had_none() -> None:
    found = refusals(figures(0.9, 0.9, new=measured("int8", 0.9, invalid=3)), Gates())
    assert found == tuple(f"3 of 1000 answers of {one} make no sense" for one in BACKENDS)
    odd = {"fp32": measured("fp32", 0.9, invalid=3), "new": measured("int8", 0.9, invalid=3)}
    assert refusals(figures(0.9, 0.9, **odd), Gates()) == ()


def test_slower_than_fp32_is_a_warning_until_speed_is_demanded() -> None:
    slow = figures(0.9, 0.9, new=measured("int8", 0.9, speedup=0.4))
    assert refusals(slow, Gates()) == ()
    assert all("INT8 runs at 0.40 times the speed of fp32" in one for one in warnings(slow, Gates()))
    assert len(warnings(slow, Gates())) == 2
    strict = Gates(must_be_faster=True)
    assert len(refusals(slow, strict)) == 2
    assert warnings(slow, strict) == ()


def test_fp32_beside_an_int8_form_is_not_called_slow() -> None:
    assert warnings(figures(0.9, 0.9, new=measured("fp32", 0.9, speedup=0.99)), Gates()) == ()


def test_too_few_pictures_to_see_the_drop_is_said() -> None:
    (found,) = warnings(figures(0.9, 0.9, images=40), Gates())
    assert found == "one picture of 40 is 2.5 points: too few to see a drop of 1; give 100 or more"


def test_recipes_end_and_no_remedy_is_tried_twice() -> None:
    for methods in (("ort",), ("nncf",), ("ort", "nncf", "nncf-ir")):
        for transformer in (False, True):
            for more in (False, True):
                listed = recipes(methods, is_transformer=transformer, has_more_frames=more)
                assert len(set(listed)) == len(listed) <= 6 * len(methods)
                assert [one.method for one in listed] == sorted((one.method for one in listed), key=methods.index)


def test_more_frames_are_a_remedy_only_where_there_are_more() -> None:
    assert any(one.frames > 1 for one in recipes(("ort",), is_transformer=False, has_more_frames=True))
    assert all(one.frames == 1 for one in recipes(("ort",), is_transformer=False, has_more_frames=False))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor: 0\nflags\t\t: fpu avx2 avx512_vnni amx_int8\n", ("avx512_vnni", "amx_int8")),
        ("flags : avx2 avx_vnni\nflags : avx2 avx_vnni\n", ("avx_vnni",)),
        ("flags : avx2 avx_vnni\nflags : avx2\n", ()),  # not all cores have it
        ("Features : fp asimd asimddp\n", ("asimddp",)),
        ("flags : avx2 avx512f\n", ()),
        ("", ()),
    ],
)
def test_vnni_is_what_every_core_has(text: str, expected: tuple[str, ...]) -> None:
    assert vnni_flags(text) == expected


def test_the_target_decides_about_the_spared_bit_when_it_is_named() -> None:
    assert needs_reduced_range("no")
    assert not needs_reduced_range("yes")
    assert needs_reduced_range("auto") == (not vnni_flags(Path("/proc/cpuinfo").read_text()))
