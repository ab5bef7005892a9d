"""Gives results and events their numbers and bytes: what is put becomes rows of the spool."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edge_runtime.core.ids import RANDOM_BYTES, uuid7
from edge_runtime.core.result import Event, Result
from edge_runtime.publish import payload
from edge_runtime.publish.spool.batch import Batch
from edge_runtime.publish.spool.store import Row, StreamState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_runtime.system.clock import Clock

_MS = 1_000_000


class Numbering:
    """One thread."""

    def __init__(self, identity: payload.Identity, boot_id: str, clock: Clock) -> None:
        """Write documents of ``identity`` and of this run."""
        self._identity = identity
        self._boot_id = boot_id
        self._clock = clock

    def batch(
        self,
        items: Iterable[Result | Event],
        streams: Mapping[str, StreamState],
        restated: Mapping[str, StreamState],
        last_id: int,
    ) -> Batch:
        """Return the rows of ``items``, and where their streams stand with them.

        Args:
            items: in the order of their numbers; what cannot be encoded becomes an event that says so.
            streams: where each stream stands now.
            restated: states that the batch has to carry in any case.
            last_id: the newest row.
        """
        batch = Batch(streams=dict(restated))
        for item in items:
            try:
                self._add(item, batch, streams, last_id)
            except (ValueError, TypeError, OverflowError) as error:
                batch.unencodable += 1
                if isinstance(item, Result):
                    batch.frames.append((item.inspection, item.frame_id))
                self._add(self._unencodable(item, error), batch, streams, last_id)
        return batch

    def _unencodable(self, item: Result | Event, error: Exception) -> Event:
        fields: dict[str, object]
        if isinstance(item, Result):
            scope, fields = item.inspection, {"frameId": str(item.frame_id)}
        else:
            scope, fields = item.scope, {"kind": str(item.kind)}
        message = f"a document could not be written as JSON and is lost: {error}"
        return Event(scope, "spool.unencodable", message, self._clock.utc_ns(), fields)

    def _add(self, item: Result | Event, batch: Batch, streams: Mapping[str, StreamState], last_id: int) -> None:
        stream = payload.result_topic(item.inspection) if isinstance(item, Result) else payload.event_topic(item.scope)
        last = batch.streams.get(stream) or streams.get(stream)
        seq = (0 if last is None else last.seq) + 1
        stamp = payload.Stamp(seq, self._boot_id, self._clock.followed())
        row_id = (batch.rows[-1].id if batch.rows else last_id) + 1
        if isinstance(item, Result):
            message = payload.encode_result(item, self._identity, stamp)
            utc_ns, mono_ns = item.captured_utc_ns, item.captured_mono_ns
            # a trigger that got no frame has none of its own: the newest frame stays the newest
            frame_id = item.frame_id or (last.frame_id if last else None)
            batch.streams[stream] = StreamState(seq, frame_id)
            batch.frames.append((item.inspection, item.frame_id))
        else:
            utc_ns, mono_ns = item.utc_ns, self._clock.mono_ns()
            event_id = uuid7(max(0, utc_ns // _MS), os.urandom(RANDOM_BYTES))
            message = payload.encode_event(item, self._identity, stamp, event_id)
            batch.streams[stream] = StreamState(seq)
        batch.rows.append(Row(row_id, stream, seq, utc_ns, mono_ns, message.headers, message.body))
