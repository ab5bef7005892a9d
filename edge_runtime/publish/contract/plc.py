"""``vision.plc/1``: the signals between one inspection and a controller, all of one moment; and what it sends."""

from typing import Annotated, Literal, NotRequired, TypedDict

from edge_runtime.publish.contract.terms import Box, Term, Timestamp


class Signals(TypedDict):
    """What a controller sees."""

    inspection: str
    heartbeat: Annotated[int, Term("counts while the line turns, from 0 to 65535 and anew", minimum=0, maximum=65535)]
    heartbeatMs: Annotated[int, Term("milliseconds between two heartbeats; none for three of them: dead", minimum=1)]
    ready: Annotated[bool, Term("a rise of trigger starts a job")]
    busy: Annotated[bool, Term("a part is being judged")]
    resultReady: Annotated[bool, Term("the evaluation stands until ack rises")]
    trigger: Annotated[bool, Term("the level as it was last told")]
    ack: Annotated[bool, Term("the level as it was last told")]
    ok: Annotated[bool, Term("only while resultReady")]
    notOk: Annotated[bool, Term("only while resultReady; neither ok nor notOk: not decidable, treat it as not OK")]
    evaluation: Annotated[
        int, Term("0 Undefined, 1 OK, 2 NotOK, 3 NotDecidable; 0 without a result", minimum=0, maximum=3)
    ]
    evaluationText: Literal["Undefined", "OK", "NotOK", "NotDecidable"]
    reason: str | None
    resultId: Annotated[str | None, Term("id of the result message; null when the job has none")]
    jobId: Annotated[str | None, Term("of this cycle; the result message has it, too")]
    partId: Annotated[str | None, Term("as the controller said it")]
    error: bool
    errorCode: Annotated[
        int,
        Term(
            "0 none, 1 no line, 2 camera, 3 model, 4 paused, 10 triggered while not ready, 11 not acknowledged in "
            "time, 12 no result in time, 13 refused, 14 a signal could not be read",
            minimum=0,
        ),
    ]
    errorText: str | None


class Plc(Box, Signals):
    """The process image of one hand-shake."""

    schema: Literal["vision.plc/1"]
    ts: Timestamp


class Signal(TypedDict):
    """A level with more to say; a bare true or false (1, 0) will do."""

    value: Annotated[bool, Term("the level")]
    id: NotRequired[
        Annotated[str | int | None, Term("names this change; the same again is a repetition", max_length=256)]
    ]
    partId: NotRequired[Annotated[str | int | None, Term("of trigger: comes back in the result", max_length=256)]]
    productId: NotRequired[Annotated[str | int | None, Term("of trigger: comes back in the result", max_length=256)]]
