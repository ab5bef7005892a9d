"""What ``infer`` refuses before it starts anything."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edge_runtime.cli import dispatch

if TYPE_CHECKING:
    import pytest


def test_a_file_name_that_is_no_utf8_is_refused_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["infer", "model.onnx", os.fsdecode(b"/Pr\xfcfung.png")]) == 65
    assert "the name of the image /Pr\\xfcfung.png is not UTF-8" in capsys.readouterr().err
