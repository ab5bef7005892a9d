"""A handler runs between any two instructions of the main thread, so it may only call what is reentrant."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import edge_runtime

CLI = Path(edge_runtime.__file__).parent / "cli"
REENTRANT = {"stop", "reload", "put"}  # of Control and SimpleQueue; the set() of an Event may deadlock (Stop.set)


@pytest.mark.parametrize("name", ["demo.py", "run.py", "watch.py"])
def test_signal_handlers_only_call_what_is_reentrant(name: str) -> None:
    handlers = [
        node.args[1]
        for node in ast.walk(ast.parse((CLI / name).read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "signal.signal"
    ]
    assert handlers
    for handler in handlers:
        called = [node.func.attr for node in ast.walk(handler) if isinstance(node, ast.Call)]  # type: ignore[attr-defined]
        assert called
        assert set(called) <= REENTRANT
