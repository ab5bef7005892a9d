"""Write the published contract anew: JSON Schemas, AsyncAPI and the table of topics in the documentation.

    python tools/publish_contract.py [--freeze]

Run it after a change in edge_runtime/publish/contract/; a test fails until then. ``--freeze`` also takes today's
schemas as those that later versions must stay compatible with, which is right only for what was never released.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP))

from edge_runtime import __version__  # noqa: E402 - this checkout's
from edge_runtime.publish.contract import asyncapi, catalogue  # noqa: E402
from edge_runtime.publish.contract.topics import TOPICS, Topic  # noqa: E402

PUBLISHED = TOP / "edge_runtime" / "publish" / "contract" / "published"
FROZEN = TOP / "tests" / "contract" / "frozen"
PAGE = TOP / "docs" / "scada-integrator.md"
HEAD = "| topic | QoS | retained | expires | document | content |\n|---|---|---|---|---|---|\n"
_TABLE = re.compile(re.escape(HEAD) + r"(?:\|.*\n)*")


def files() -> dict[str, str]:
    """Return name and text of every published file."""
    documents = {f"{name}.json": catalogue.schema(name) for name in catalogue.DOCUMENTS}
    documents["asyncapi.json"] = asyncapi.document(__version__)
    return {name: json.dumps(document, indent=2) + "\n" for name, document in documents.items()}


def table() -> str:
    """Return the table of topics below the box's root, in Markdown."""
    return HEAD + "".join(_row(topic) for topic in TOPICS if topic.rooted)


def page() -> str:
    """Return the integrator's page with today's table.

    Raises:
        ValueError: it has no table of topics, or several.
    """
    text, count = _TABLE.subn(lambda _: table(), PAGE.read_text("utf-8"))
    if count != 1:
        msg = f"{PAGE} must have one table of topics, found {count}"
        raise ValueError(msg)
    return text


def _row(topic: Topic) -> str:
    retained = ("yes" if topic.retain else "no") if topic.sent else "never"
    expires = {True: f"{topic.expiry_s} s", False: "varies"}[isinstance(topic.expiry_s, int)] if topic.expiry_s else "-"
    says = topic.about if topic.sent else f"you send: {topic.about}"
    return f"| `{topic.address}` | {topic.qos} | {retained} | {expires} | `{topic.document or 'binary'}` | {says} |\n"


def main(arguments: list[str]) -> int:
    """Write everything; return 0."""
    PUBLISHED.mkdir(exist_ok=True)
    for stale in {file.name for file in PUBLISHED.glob("*.json")} - files().keys():
        (PUBLISHED / stale).unlink()
    for name, text in files().items():
        (PUBLISHED / name).write_text(text, "utf-8")
        if "--freeze" in arguments and name != "asyncapi.json":
            (FROZEN / name).write_text(text, "utf-8")
    PAGE.write_text(page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
