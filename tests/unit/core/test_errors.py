"""The error tree: stable codes, documented exit codes, text for people."""

from __future__ import annotations

import os

import pytest

from edge_runtime.core import errors
from edge_runtime.core.errors import EdgeError

EXIT_CODES = {
    errors.ConfigError: os.EX_CONFIG,
    errors.DataError: os.EX_DATAERR,
    errors.UnavailableError: os.EX_UNAVAILABLE,
    errors.BusyError: os.EX_TEMPFAIL,
    errors.PermissionDeniedError: os.EX_NOPERM,
    errors.StorageError: 1,
    errors.InvariantError: 1,
}


def test_every_class_of_the_tree_has_its_documented_exit_code() -> None:
    defined = {c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, EdgeError)} - {EdgeError}
    assert defined == set(EXIT_CODES)
    assert {c: c.exit_code for c in defined} == EXIT_CODES


def test_only_what_may_pass_by_itself_is_worth_a_retry() -> None:
    assert {c for c in EXIT_CODES if c.retryable} == {errors.UnavailableError, errors.BusyError}


@pytest.mark.parametrize("kind", EXIT_CODES)
def test_an_error_keeps_its_parts_apart_and_joins_them_for_people(kind: type[EdgeError]) -> None:
    error = kind("model.unreadable", "model.onnx: byte 4 is no field", help="export it again")
    assert (error.code, error.message, error.help) == (
        "model.unreadable",
        "model.onnx: byte 4 is no field",
        "export it again",
    )
    assert str(error) == "model.onnx: byte 4 is no field; export it again"


def test_without_help_the_message_stands_alone() -> None:
    assert str(errors.DataError("x.y", "what happened")) == "what happened"


def test_a_message_gives_no_orders_to_a_terminal() -> None:
    error = errors.DataError("a.b", "said \x1b[2J\x07\x9b\u202e\r, n\u00e9\u00a0\u2014:\n\tso", help="look")
    assert error.message == "said \\x1b[2J\\x07\\x9b\\u202e\\r, n\u00e9\u00a0\u2014:\n\tso"
    assert str(error).startswith(error.message)
    assert error.args == ("a.b", error.message)
