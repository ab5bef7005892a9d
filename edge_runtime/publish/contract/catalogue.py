"""Every published document by name, and its JSON Schema. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge_runtime.publish.contract import command, event, info, metrics, model, plc, reply, result, status
from edge_runtime.publish.contract.generate import schema_of


@dataclass(frozen=True, slots=True)
class Document:
    """One published document: ``id`` is what ``schema`` says in it, where it says so."""

    name: str
    id: str
    type: type


COMMANDS: Final[dict[str, type]] = {
    "trigger": command.Trigger,
    "pause": command.Pause,
    "resume": command.Resume,
    "recipe.select": command.RecipeSelect,
    "snapshot": command.Snapshot,
    "reset": command.Reset,
    "config.get": command.ConfigGet,
    "replay": command.Replay,
    "spool.requeue": command.SpoolRequeue,
    "model.check": command.ModelCheck,
    "model.update": command.ModelUpdate,
    "model.rollback": command.ModelRollback,
    "model.approve": command.ModelApprove,
    "model.hold": command.ModelHold,
    "lot": command.Lot,
}
DOCUMENTS: Final = {
    document.name: document
    for document in (
        Document("result", "vision.result/1", result.Result),
        Document("event", "vision.event/1", event.Event),
        Document("status", "vision.status/1", status.Status),
        Document("info", "vision.info/1", info.Info),
        Document("metrics", "vision.metrics/1", metrics.Metrics),
        Document("model", "vision.model/1", model.Model),
        Document("plc", "vision.plc/1", plc.Plc),
        Document("command.plc", "vision.command.plc/1", plc.Signal),
        Document("reply", "vision.reply/1", reply.Reply),
        Document("command", "vision.command/1", command.Command),
        *(Document(f"command.{verb}", f"vision.command.{verb}/1", kind) for verb, kind in COMMANDS.items()),
    )
}


def schema(name: str) -> dict[str, object]:
    """Return the JSON Schema (draft 2020-12) of the document called ``name``, for example ``result``.

    Raises:
        KeyError: there is no such document.
    """
    document = DOCUMENTS[name]
    return schema_of(document.type, document.id)
