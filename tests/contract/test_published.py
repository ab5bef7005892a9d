"""What is published about the wire is what is sent, and stays compatible with what was published before."""

from __future__ import annotations

import copy
import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from edge_runtime import __version__
from edge_runtime.publish.contract import asyncapi, catalogue
from edge_runtime.publish.contract.topics import TOPICS
from tests.contract.compatible import broken
from tests.integration.real_assets import asset
from tools import publish_contract

if TYPE_CHECKING:
    from collections.abc import Callable

FROZEN = sorted((Path(__file__).parent / "frozen").glob("*.json"))


def test_the_published_files_are_in_the_package_and_are_those_of_the_types() -> None:
    """Mend it with: python tools/publish_contract.py."""
    directory = resources.files("edge_runtime.publish.contract").joinpath("published")
    found = {file.name: file.read_text("utf-8") for file in directory.iterdir()}
    assert found == publish_contract.files()


def test_the_table_of_topics_in_the_documentation_lists_exactly_the_topics() -> None:
    """Mend it with: python tools/publish_contract.py."""
    assert publish_contract.PAGE.read_text("utf-8") == publish_contract.page()


def test_no_topic_is_listed_twice() -> None:
    addresses = [topic.address for topic in TOPICS]
    assert sorted(addresses) == sorted(set(addresses))


def test_what_was_published_once_is_frozen() -> None:
    assert {"result", "event", "status", "info", "metrics"} <= {file.stem for file in FROZEN}


@pytest.mark.parametrize("file", FROZEN, ids=lambda file: file.stem)
def test_a_schema_of_version_1_only_gains_fields(file: Path) -> None:
    sent = any(topic.sent and topic.document == file.stem for topic in TOPICS)
    assert broken(json.loads(file.read_text()), catalogue.schema(file.stem), sent=sent) == []


def _remove(schema: dict[str, Any]) -> None:
    del schema["properties"]["partId"]


def _rename(schema: dict[str, Any]) -> None:
    schema["properties"]["part"] = schema["properties"].pop("partId")


def _not_sent_always(schema: dict[str, Any]) -> None:
    schema["required"].remove("partId")


def _other_type(schema: dict[str, Any]) -> None:
    schema["properties"]["partId"] = {"type": "integer"}


def _fewer_words(schema: dict[str, Any]) -> None:
    schema["properties"]["evaluation"]["enum"].remove("Undefined")


def _narrower(schema: dict[str, Any]) -> None:
    schema["properties"]["reason"]["maxLength"] = 10


def _inside(schema: dict[str, Any]) -> None:
    del schema["properties"]["model"]["anyOf"][0]["properties"]["digest"]


def _other_limit(schema: dict[str, Any]) -> None:
    schema["properties"]["seq"]["minimum"] = 0


def _closed(schema: dict[str, Any]) -> None:
    schema["properties"]["image"]["maxProperties"] = 2


BREAKS = [
    _remove,
    _rename,
    _not_sent_always,
    _other_type,
    _fewer_words,
    _narrower,
    _inside,
    _other_limit,
    _closed,
]


@pytest.mark.parametrize("change", BREAKS)
def test_every_way_of_breaking_readers_is_seen(change: Callable[[dict[str, Any]], None]) -> None:
    new = copy.deepcopy(catalogue.schema("result"))
    change(new)
    assert broken(catalogue.schema("result"), new)


def test_another_field_and_other_words_break_nobody() -> None:
    new: Any = copy.deepcopy(catalogue.schema("result"))
    new["properties"]["weather"] = {"type": "string"}
    new["required"].append("weather")
    new["properties"]["reason"]["description"] = "said better"
    assert broken(catalogue.schema("result"), new) == []


def test_a_command_must_not_ask_for_more() -> None:
    new: Any = copy.deepcopy(catalogue.schema("command.trigger"))
    new["properties"]["urgency"] = {"type": "integer"}
    assert broken(catalogue.schema("command.trigger"), new, sent=False) == []
    new["required"] = ["urgency"]
    assert broken(catalogue.schema("command.trigger"), new, sent=False) != []


@pytest.mark.parametrize("name", sorted(catalogue.DOCUMENTS))
def test_every_schema_is_valid_and_leaves_room_for_additions(name: str) -> None:
    schema = catalogue.schema(name)
    Draft202012Validator.check_schema(schema)
    assert '"additionalProperties": false' not in json.dumps(schema)


KNOWN = asyncapi.Known(
    levels={"topicRoot": "acme/vision", "site": "s", "line": "l", "edge": "e"},
    values={"inspection": ["top"], "scope": ["top", "system"]},
    host="10.0.0.9",
    port=1883,
    client_id="s-l-e",
)


@pytest.mark.parametrize("known", [None, KNOWN], ids=["any box", "one box"])
def test_the_asyncapi_document_is_valid_by_the_schema_of_its_authors(known: asyncapi.Known | None) -> None:
    judge = Draft7Validator(json.loads(asset("asyncapi-3.0.0.json").read_text()))
    document: Any = json.loads(json.dumps(asyncapi.document(__version__, known)))
    assert [f"{'/'.join(map(str, error.path))}: {error.message}" for error in judge.iter_errors(document)] == []
    document["channels"]["result"]["adress"] = "x"
    assert list(judge.iter_errors(document)), "the judge accepts anything"


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for inside in value.values() for found in _references(inside)]
    return [found for inside in value for found in _references(inside)] if isinstance(value, list) else []


def test_every_reference_in_the_asyncapi_document_leads_somewhere() -> None:
    document: Any = asyncapi.document(__version__)
    references = _references(document)
    assert references
    for reference in references:
        at = document
        for step in reference.removeprefix("#/").split("/"):
            at = at[step]


def test_the_asyncapi_document_of_one_box_has_its_topics() -> None:
    document: Any = asyncapi.document(__version__, KNOWN)
    channels = document["channels"]
    assert channels["result"]["address"] == "acme/vision/s/l/e/result/{inspection}"
    assert channels["result"]["parameters"]["inspection"]["enum"] == ["top"]
    assert set(channels["status"]) == {"address", "description", "messages"}
    assert channels["ndata"]["address"] == "spBv1.0/{group}/NDATA/{node}"
    assert document["servers"]["broker"]["host"] == "10.0.0.9:1883"


def test_every_place_in_an_address_is_explained() -> None:
    document: Any = asyncapi.document(__version__)
    for channel in document["channels"].values():
        places = {part[1:-1] for part in channel["address"].split("/") if part.startswith("{")}
        assert places == set(channel.get("parameters", {}))
        assert all(parameter["description"] for parameter in channel.get("parameters", {}).values())
