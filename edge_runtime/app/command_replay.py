"""The commands about the spool: ``replay`` kept results, ``spool.requeue`` dead letters, ``spool.status``.

Handlers (``core.command``) for the desk to register; each asks the spool's writer and answers from its thread.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from typing import TYPE_CHECKING

from edge_runtime.core.command import Answer, Status
from edge_runtime.core.errors import BusyError, DataError
from edge_runtime.publish.payload import result_topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_runtime.core.command import Command, Handler, Reply
    from edge_runtime.publish.spool.revival import Revived
    from edge_runtime.publish.spool.spool import Spool


def spool_handlers(spool: Spool) -> Mapping[str, Handler]:
    """Return the handlers by verb, for a running ``spool``."""

    def replay(command: Command, reply: Reply) -> None:
        """Answer ACCEPTED with what will come and which numbers are not there any more; what comes is historical."""
        inspection = command.target or command.arguments.get("inspection")
        low, high = command.arguments.get("fromSeq"), command.arguments.get("toSeq")
        if not isinstance(inspection, str) or not _whole(low) or not _whole(high):
            reply(Answer(Status.MALFORMED, "replay needs an inspection and the numbers fromSeq and toSeq"))
            return

        def done(found: Revived) -> None:
            text = f"{found.revived + found.owed} results will come, {found.missing_count} are not there any more"
            reply(_answer(found, text, {"inspection": inspection, "fromSeq": low, "toSeq": high}))

        with _refusing(reply):
            spool.replay(result_topic(inspection), int(str(low)), int(str(high)), done)

    def requeue(command: Command, reply: Reply) -> None:
        """Answer ACCEPTED with how many dead letters, of one stream and refused for one reason if given, will come."""
        reason, stream = command.arguments.get("refusedFor"), command.arguments.get("stream")
        if not isinstance(reason, str | None) or not isinstance(stream, str | None):
            reply(Answer(Status.MALFORMED, "refusedFor and stream are texts"))
            return
        if stream is None and command.target is not None:
            stream = result_topic(command.target)

        def done(found: Revived) -> None:
            reply(_answer(found, f"{found.revived} dead letters will be sent again", {}))

        with _refusing(reply):
            spool.requeue(stream, reason, done)

    def status(_command: Command, reply: Reply) -> None:
        """Answer with the figures of the spool."""
        reply(Answer(Status.DONE, "the spool as it is", asdict(spool.stats())))

    return {"replay": replay, "spool.requeue": requeue, "spool.status": status}


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _answer(found: Revived, text: str, fields: Mapping[str, object]) -> Answer:
    if not found.finished:
        return Answer(Status.UNAVAILABLE, "the spool was closed before all was done; ask again")
    document = {
        **fields,
        "willCome": found.revived + found.owed,
        "refused": found.refused,
        "missing": [list(span) for span in found.missing],
        "missingCount": found.missing_count,
    }
    return Answer(Status.ACCEPTED, text, document)


@contextlib.contextmanager
def _refusing(reply: Reply) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        reply(Answer(Status.UNKNOWN if error.code == "replay.stream" else Status.MALFORMED, error.message))
    except BusyError as error:
        reply(Answer(Status.TOO_MANY, error.message))
