from __future__ import annotations

import pytest

from edge_runtime.config.expand import ExpansionError, expand

ENVIRON = {"HOST": "broker", "EMPTY": "", "SPICY": "${HOST} $HOST #: {"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("${HOST}", "broker"),
        ("a-${HOST}-${HOST}", "a-broker-broker"),
        ("${EMPTY}", ""),
        ("${EMPTY:-x}", "x"),
        ("${NONE:-x y:z}", "x y:z"),
        ("${NONE:-}", ""),
        ("${HOST:-x}", "broker"),
        ("${HOST:?needed}", "broker"),
        ("$HOST", "$HOST"),
        ("$${HOST}", "${HOST}"),
        ("cost $5", "cost $5"),
        ("$$", "$$"),
        ("${SPICY}", "${HOST} $HOST #: {"),
        ("${NONE:-a\nb}", "a\nb"),
    ],
)
def test_references_are_replaced_once(text: str, expected: str) -> None:
    assert expand(text, ENVIRON) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${NONE}", "variable NONE is not set"),
        ("${NONE:?the host}", "variable NONE is not set: the host"),
        ("${EMPTY:?the host}", "variable EMPTY is empty: the host"),
        ("${EMPTY:?}", "variable EMPTY is empty"),
        ("${NONE:?}", "variable NONE is not set"),
        ("${}", "a reference that is not of the form ${NAME}"),
        ("${1A}", "a reference that is not of the form ${NAME}"),
        ("${A B}", "a reference that is not of the form ${NAME}"),
        ("${A:+b}", "a reference that is not of the form ${NAME}"),
        ("${HOST", "a reference that is not of the form ${NAME}"),
        ("${A:-${HOST}}", "a reference that is not of the form ${NAME}"),
    ],
)
def test_a_reference_without_value_says_which_and_how_to_mend_it(text: str, message: str) -> None:
    with pytest.raises(ExpansionError) as caught:
        expand(text, ENVIRON)
    assert caught.value.whole == message
    assert caught.value.help


def test_what_was_written_behind_a_question_mark_can_be_left_out() -> None:
    with pytest.raises(ExpansionError) as caught:
        expand("${NONE:?hunter2}", ENVIRON)
    assert caught.value.message == "variable NONE is not set"
