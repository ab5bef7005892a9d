"""Topics and STATE messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.core.errors import ConfigError, DataError
from edge_runtime.publish.sparkplug.topics import (
    Kind,
    State,
    Topic,
    command_filter,
    decode_state,
    encode_state,
    parse,
    state_topic,
)

ids = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="+/#"), min_size=1, max_size=20)


@pytest.mark.parametrize("kind", Kind)
@given(group=ids, node=ids, device=ids)
def test_a_topic_is_parsed_to_what_it_was_made_of(kind: Kind, group: str, node: str, device: str) -> None:
    topic = Topic(kind, group, node, device if kind.of_device else None)
    assert parse(str(topic)) == topic


def test_topics_have_the_levels_of_the_specification() -> None:
    """tck-id-topic-structure and tck-id-topic-structure-namespace-a."""
    assert str(Topic(Kind.NBIRTH, "plant a", "box")) == "spBv1.0/plant a/NBIRTH/box"
    assert str(Topic(Kind.DCMD, "plant a", "box", "top")) == "spBv1.0/plant a/DCMD/box/top"
    assert command_filter("DCMD", "NCMD") == "spBv1.0/DCMD/DCMD/NCMD/+"
    assert state_topic("scada") == "spBv1.0/STATE/scada"


@pytest.mark.parametrize("bad", ["", "a+b", "a/b", "a#", "a\0b", "a\x1f", "a\x7f", "\ud800"])
def test_ids_that_are_no_topic_level_are_refused(bad: str) -> None:
    """tck-id-intro-group-id-chars, tck-id-intro-edge-node-id-chars and tck-id-intro-device-id-chars."""
    with pytest.raises(ConfigError, match="Sparkplug group id"):
        Topic(Kind.NBIRTH, bad, "n")
    with pytest.raises(ConfigError, match="Sparkplug edge node id"):
        Topic(Kind.NBIRTH, "g", bad)
    with pytest.raises(ConfigError, match="Sparkplug device id"):
        Topic(Kind.DBIRTH, "g", "n", bad)
    with pytest.raises(ConfigError, match="Sparkplug host id"):
        state_topic(bad)
    with pytest.raises(ConfigError, match="Sparkplug edge node id"):
        command_filter("g", bad)


def test_two_nodes_may_have_devices_of_one_name() -> None:
    """tck-id-topic-structure-namespace-duplicate-device-id-across-edge-node."""
    first, second = (Topic(Kind.DBIRTH, "g", node, "top") for node in ("box-1", "box-2"))
    assert first.device == second.device
    assert str(first) != str(second)


def test_only_topics_of_devices_have_a_device_id() -> None:
    with pytest.raises(ConfigError, match="has no device id"):
        Topic(Kind.NDATA, "g", "n", "d")
    with pytest.raises(ConfigError, match="needs a device id"):
        Topic(Kind.DDATA, "g", "n")


@pytest.mark.parametrize(
    "topic",
    [
        "spBv1.0/STATE/scada",
        "spBv1.0/g/NBIRTH",
        "spBv1.0/g/NBIRTH/n/d",
        "spBv1.0/g/DBIRTH/n",
        "spBv1.0/g/DBIRTH/n/d/more",
        "spBv1.0/g/BIRTH/n",
        "spAv1.0/g/NBIRTH/n",
        "spBv1.0//NBIRTH/n",
        "",
    ],
)
def test_other_topics_are_refused(topic: str) -> None:
    with pytest.raises(DataError, match="is no topic of a Sparkplug B edge node"):
        parse(topic)


@given(st.booleans(), st.integers(0, 2**63))
def test_a_state_is_decoded_to_what_was_encoded(online: bool, timestamp_ms: int) -> None:  # noqa: FBT001
    state = State(online, timestamp_ms)
    assert decode_state(encode_state(state)) == state


def test_fields_of_a_state_that_nobody_knows_are_ignored() -> None:
    assert decode_state(b'{"timestamp": 5, "online": true, "bdSeq": 3}') == State(online=True, timestamp_ms=5)


@pytest.mark.parametrize(
    "data",
    [
        b"ONLINE",
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"online": "true", "timestamp": 1}',
        b'{"online": 1, "timestamp": 1}',
        b'{"online": true, "timestamp": true}',
        b'{"online": true, "timestamp": 1.5}',
        b'{"online": true, "timestamp": -1}',
        b'{"online": true}',
        b"[" * 4000,
        b" " * 5000,
    ],
)
def test_what_is_no_state_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="STATE"):
        decode_state(data)
