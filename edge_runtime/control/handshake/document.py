"""The process image of one hand-shake as a document: ``vision.plc/1`` on ``plc/{inspection}``. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.control.handshake.machine import Code
from edge_runtime.core.result import Evaluation
from edge_runtime.publish import payload

if TYPE_CHECKING:
    from edge_runtime.control.handshake import machine
    from edge_runtime.publish.contract.plc import Signals
    from edge_runtime.publish.payload import Identity, Message


def encode(
    inspection: str,
    signals: machine.Signals,
    identity: Identity,
    boot_id: str,
    utc_ns: int,
    *,
    heartbeat: int,
    heartbeat_ms: int,
) -> Message:
    """Return the document; ``heartbeat`` counts from 0 to 65535 and begins anew."""
    outcome, trouble, job = signals.outcome, signals.trouble, signals.job
    evaluation = Evaluation.UNDEFINED if outcome is None else outcome.evaluation
    fields: Signals = {
        "inspection": inspection,
        "heartbeat": heartbeat,
        "heartbeatMs": heartbeat_ms,
        "ready": signals.ready,
        "busy": signals.busy,
        "resultReady": signals.result_ready,
        "trigger": signals.trigger,
        "ack": signals.ack,
        "ok": evaluation is Evaluation.OK,
        "notOk": evaluation is Evaluation.NOT_OK,
        "evaluation": int(evaluation),
        "evaluationText": evaluation.text,
        "reason": None if outcome is None else outcome.reason,
        "resultId": None if outcome is None else outcome.result_id,
        "jobId": None if job is None else job.job_id,
        "partId": None if job is None else job.part.part_id,
        "error": trouble is not None,
        "errorCode": int(Code.NONE if trouble is None else trouble.code),
        "errorText": None if trouble is None else trouble.text,
    }
    return payload.encode_plc(identity, boot_id, utc_ns, fields)
