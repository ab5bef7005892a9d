from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest
from jsonschema import Draft202012Validator

from edge_runtime.core.errors import InvariantError
from edge_runtime.publish.contract.generate import schema_of
from edge_runtime.publish.contract.terms import Term


class Inner(TypedDict):
    """What is inside.

    Not told.
    """

    size: Annotated[int, Term("bytes", minimum=0, maximum=9)]


class Base(TypedDict):
    """The base."""

    always: str


class Whole(Base):
    """What it is,
    in two lines.
    """

    one: Literal["a/1"]
    few: Literal["a", "b"]
    maybe: NotRequired[Annotated[str | None, Term("why", pattern="^x", max_length=3)]]
    either: Inner | None
    many: Annotated[list[Annotated[list[float], Term(min_items=2, max_items=2)]], "not a Term"]
    by_name: dict[str, bool]
    anything: dict[str, object]


class Nothing(TypedDict):
    """Nothing."""


def test_each_kind_of_type_has_its_form() -> None:
    assert schema_of(Whole, "whole/1") == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:edge-runtime:whole/1",
        "title": "What it is, in two lines",
        "type": "object",
        "properties": {
            "always": {"type": "string"},
            "one": {"const": "a/1"},
            "few": {"enum": ["a", "b"]},
            "maybe": {"type": ["string", "null"], "description": "why", "pattern": "^x", "maxLength": 3},
            "either": {
                "anyOf": [
                    {
                        "type": "object",
                        "description": "What is inside",
                        "properties": {"size": {"type": "integer", "description": "bytes", "minimum": 0, "maximum": 9}},
                        "required": ["size"],
                    },
                    {"type": "null"},
                ]
            },
            "many": {
                "type": "array",
                "items": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
            },
            "by_name": {"type": "object", "additionalProperties": {"type": "boolean"}},
            "anything": {"type": "object"},
        },
        "required": ["always", "one", "few", "either", "many", "by_name", "anything"],
        "description": "Readers must ignore fields that are not listed here.",
    }


def test_the_form_is_a_schema_that_takes_what_the_type_takes() -> None:
    judge = Draft202012Validator(schema_of(Whole, "whole/1"))
    good: dict[str, Any] = {"always": "", "one": "a/1", "few": "b", "either": {"size": 3}, "many": [[1, 2.5]]}
    good |= {"by_name": {"x": True}, "anything": {"y": [None]}, "unknown": 1}
    judge.validate(good)
    for wrong in ({"one": "a/2"}, {"few": "c"}, {"either": {}}, {"many": [[1]]}, {"by_name": {"x": 1}}):
        assert not judge.is_valid(good | wrong), wrong


def test_a_document_without_required_fields_requires_none() -> None:
    assert "required" not in schema_of(Nothing, "nothing/1")


def test_a_type_that_json_schema_does_not_have_is_a_bug() -> None:
    wrong: Any = TypedDict("wrong", {"when": bytes})
    with pytest.raises(InvariantError, match="no form"):
        schema_of(wrong, "wrong/1")
