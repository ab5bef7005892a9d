"""What ``infer`` refuses before it starts anything."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edge_runtime.cli import dispatch
from edge_runtime.system import logs

if TYPE_CHECKING:
    import pytest


def test_a_file_name_that_is_no_utf8_is_refused_with_the_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "configure", lambda **_: None)  # it would silence every test that follows
    assert dispatch(["infer", "model.onnx", os.fsdecode(b"/Pr\xfcfung.png")]) == 65
    assert "the name of the image /Pr\\xfcfung.png is not UTF-8" in capsys.readouterr().err
