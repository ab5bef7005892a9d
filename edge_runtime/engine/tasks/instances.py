"""Objects and their masks: prototypes and coefficients (`yolo`, `end2end`), or a small mask per box (`maskrcnn`)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_runtime.core.result import SHAPES_BYTES_LIMIT
from edge_runtime.engine.masks import Drawn, Grids, Window, above, draw, pasted
from edge_runtime.engine.postprocess import InvalidOutputError, to_corners
from edge_runtime.engine.tasks.base import find_roles, refuse_outputs, static_shape
from edge_runtime.engine.tasks.boxes import BOX, Detector
from edge_runtime.engine.tasks.finished import EndToEnd, is_list
from edge_runtime.engine.tasks.yolo import Yolo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from edge_runtime.core.result import Prediction
    from edge_runtime.engine.base import TensorInfo
    from edge_runtime.engine.postprocess import Transform
    from edge_runtime.engine.spec import ModelSpec

_HEADS: Final[dict[str, type[Yolo | EndToEnd]]] = {"yolo": Yolo, "end2end": EndToEnd}
_MAP: Final = 4
_LOGIT_FLOOR: Final = 0.0  # of the sum of prototypes: a probability of one half
_SCORE_FLOOR: Final = 0.5


class Prototypes:
    """A head with k coefficients per box, and k prototypes [1, k, h, w] of which they make its mask; a `Decoder`.

    A mask is where the sum of the prototypes, interpolated to frame pixels, is above 0, inside its box (YOLACT, arXiv
    1904.02689). An object that none of its pixels belong to is left out, as Ultralytics does.
    """

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the outputs; see `tasks.make_decoder` for what is raised."""
        name = spec.output.names.get("prototypes")
        maps = [
            i
            for i, one in enumerate(outputs)
            if len(shape := static_shape(one)) == _MAP
            and shape[0] == 1
            and min(shape) > 0
            and name in (None, one.name, *one.aliases)
        ]
        if len(maps) != 1:
            which = "" if name is None else f" named {name!r}"
            refuse_outputs(spec, f"one output [1,k,h,w] of prototypes{which} beside its head", outputs)
        (self._position,) = maps
        self._head = _HEADS[spec.decoder](spec, outputs, extra=static_shape(outputs[self._position])[1])
        self._grids = Grids(spec.input.size)

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`."""
        rows = self._head.read(outputs)
        prototypes = outputs[self._position][0].transpose(0, 2, 1)
        grid = self._grids.of((prototypes.shape[2], prototypes.shape[1]), transform)

        def shape(row: int, one: Prediction) -> Drawn | None:
            window = grid.window(one.box)
            if window is None:
                return None
            near = prototypes[:, window.cells[0], window.cells[1]]
            logits = (rows.extras[row] @ near.reshape(len(near), -1)).reshape(near.shape[1:])
            return _drawn(one, logits, window, _LOGIT_FLOOR, transform)

        return _with_masks(self._head.place(rows.corners, rows.scores, rows.classes, transform), shape)


class MaskRcnn(Detector):
    """Finished lists with a mask per box; a `Decoder`.

    `boxes` [n, 5] with the score in the last column, or [n, 4] beside `scores` [n]; `labels` [n]; `masks` [n, m, m] or
    [n, 1, m, m] of probabilities inside the box, or of the whole input when that is their size (torchvision pastes them
    in the graph). Each may have an axis of one picture before it. How many there are may differ from frame to frame.
    """

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the outputs; see `tasks.make_decoder` for what is raised."""
        super().__init__(spec)
        self._roles = find_roles(
            spec,
            outputs,
            "boxes [n,5], or [n,4] and scores [n]; labels [n] of whole numbers; masks [n,h,w]",
            {
                "masks": _is_masks,
                "boxes": lambda one: is_list(one, 2) and static_shape(one)[-1] in (BOX, BOX + 1),
                "labels": lambda one: is_list(one, 1) and "int" in one.dtype,
                "scores": lambda one: is_list(one, 1) and "float" in one.dtype,
            },
            optional=("scores",),
        )
        self._grids = Grids(spec.input.size)

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`."""
        boxes, labels, masks = (outputs[self._roles[role]] for role in ("boxes", "labels", "masks"))
        columns = (BOX, BOX + 1) if "scores" in self._roles else (BOX + 1,)
        if boxes.ndim < 2 or boxes.shape[-1] not in columns or masks.ndim < 3:  # noqa: PLR2004 - axes
            message = f"boxes of {boxes.shape} and masks of {masks.shape}, expected [n,4] beside scores, or [n,5]"
            raise InvalidOutputError(message, help='correct "output": {"names": {"boxes": ..., "masks": ...}}')
        boxes, labels = boxes.reshape(-1, boxes.shape[-1]), labels.reshape(-1)
        masks = masks.reshape(-1, *masks.shape[-2:])
        scores = outputs[self._roles["scores"]].reshape(-1) if "scores" in self._roles else boxes[:, -1]
        if not len(boxes) == len(labels) == len(masks) == len(scores):
            message = f"{len(boxes)} boxes, {len(labels)} labels, {len(scores)} scores and {len(masks)} masks"
            raise InvalidOutputError(message, help='correct "output": {"names": ...}: they are of one list')
        rows = self.rows(scores, labels, "boxes, labels and scores of one list")
        corners = to_corners(self.scaled(boxes[rows.index, :BOX]), self.spec.output.boxes)

        def shape(row: int, one: Prediction) -> Drawn | None:
            mask = masks[rows.index[row]].T
            if mask.shape[::-1] == self.spec.input.size:
                window = self._grids.of(self.spec.input.size, transform).window(one.box)
                cells = None if window is None else mask[window.cells]
            else:
                window = pasted(corners[row].tolist(), mask.shape, transform)
                cells = np.pad(mask, 1)
            return None if window is None or cells is None else _drawn(one, cells, window, _SCORE_FLOOR, transform)

        return _with_masks(self.place(corners, rows.scores, rows.classes, transform), shape)


def _with_masks(
    placed: Sequence[tuple[int, Prediction]], shape: Callable[[int, Prediction], Drawn | None]
) -> tuple[Prediction, ...]:
    """Return the predictions with their masks; one whose mask has no pixel is left out.

    Those that a message has no room for any more are not drawn: of noise, hundreds would take seconds. What was drawn
    until then is more than the message holds, so the result is partial.
    """
    found, spent = [], 0
    for row, one in placed:
        if spent > SHAPES_BYTES_LIMIT:
            found.append(one)
        elif (drawn := shape(row, one)) is not None:
            spent += len(drawn.rle)
            found.append(replace(one, rle=drawn.rle, polygon=drawn.polygon))
    return tuple(found)


def _is_masks(output: TensorInfo) -> bool:
    shape = static_shape(output)
    return len(shape) in (3, 4, 5) and min(shape[-2:]) > BOX + 1 and (len(shape) == 3 or shape[1] == 1 or shape[0] == 1)  # noqa: PLR2004 - axes


def _drawn(
    one: Prediction, values: NDArray[np.float32], window: Window, floor: float, transform: Transform
) -> Drawn | None:
    """Draw where the interpolated ``values`` are above ``floor``.

    Raises:
        InvalidOutputError: the mask of ``one`` is not made of finite numbers.
    """
    if not np.isfinite(values).all():
        message = f"the mask of {one.label!r} is not made of finite numbers"
        raise InvalidOutputError(message, help="the weights are damaged or overflow in this precision")
    return draw(above(values, window, floor), window.left, window.top, (transform.width, transform.height))
