"""``vision.info/1``: what does not change while the daemon runs."""

from typing import Annotated, Literal, NotRequired, TypedDict

from edge_runtime.publish.contract.terms import Box, Digest, OtherHeaders, Term, Timestamp


class CameraInfo(TypedDict):
    """One source of pictures."""

    source: Annotated[str, Term("without secrets")]
    capture: Literal["latest", "every"]


class ModelInfo(TypedDict):
    """One model slot, and what really runs in it."""

    state: str
    message: NotRequired[Annotated[str, Term("why it does not run")]]
    name: NotRequired[str]
    version: NotRequired[str]
    digest: NotRequired[Digest]
    backend: NotRequired[str]
    device: NotRequired[str]
    precision: NotRequired[str]


class RecipeInfo(TypedDict):
    """Which recipe an inspection applies."""

    id: str
    version: str
    hash: Digest


class InspectionInfo(TypedDict):
    """A camera, a model and a recipe."""

    camera: str
    model: str
    deadline_ms: float
    recipe: RecipeInfo


class InfoFields(TypedDict):
    """What the box is made of."""

    version: NotRequired[Annotated[str, Term("of the runtime")]]
    cameras: NotRequired[dict[str, CameraInfo]]
    models: NotRequired[dict[str, ModelInfo]]
    inspections: NotRequired[dict[str, InspectionInfo]]


class Info(Box, InfoFields):
    """What does not change while the daemon runs."""

    schema: Literal["vision.info/1"]
    ts: Timestamp


class DocumentHeaders(OtherHeaders):
    """MQTT user properties of a document with a time."""

    ts: Timestamp
