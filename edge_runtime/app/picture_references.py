"""Reference pictures: what a person declared to be a good picture of a camera, kept in the state directory.

    state_dir/pictures/CAMERA/reference.json    the reference in use
    state_dir/pictures/CAMERA/wish.json         what ``edge-runtime cameras reference`` asks of a running daemon

The camera of a running daemon is taken, so the command leaves a wish; the daemon looks for wishes once a second, has
the camera process make the reference while it goes on, and removes the wish when the reference is in use, or writes
into it why there is none. A daemon that ends in between finds the wish again. A reference that is damaged is set aside
and told, and pictures are judged without one: nothing about a reference keeps a line from running.
"""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import BusyError, DataError, EdgeError, PermissionDeniedError, StorageError
from edge_runtime.core.picture_reference import REFERENCE_BYTES_MAX, parse_reference, reference_fields
from edge_runtime.core.result import Event
from edge_runtime.pipeline.picture_health import unjudged
from edge_runtime.system.files import make_directory, move_aside, read_limited, remove, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_runtime.app.assembly import LineService
    from edge_runtime.core.picture import PictureReference
    from edge_runtime.pipeline.pictures import Pictures
    from edge_runtime.system.clock import Clock

logger = logging.getLogger(__name__)

DIRECTORY: Final = "pictures"
WISH_BYTES_MAX: Final = 4096
SECONDS_MAX: Final = 60.0
LATE_S: Final = 5.0
"""A camera process may need this much longer than the seconds it was told to look."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A wish for a reference: of the next ``seconds``, or for none (0); with ``error`` when it was refused."""

    id: str
    seconds: float
    error: str | None = None
    help: str | None = None


class ReferenceFiles:
    """The references and wishes of all cameras; see the module docstring."""

    def __init__(self, state_dir: Path) -> None:
        """Look below ``state_dir``; nothing is read or made yet."""
        self._directory = state_dir / DIRECTORY

    def load(self, camera: str) -> PictureReference | None:
        """Return the reference of a camera, ``None`` without one.

        Raises:
            DataError: it is damaged.
            StorageError: it cannot be read.
            PermissionDeniedError: it may not be read.
        """
        try:
            raw = read_limited(self._reference(camera), REFERENCE_BYTES_MAX)
        except FileNotFoundError:
            return None
        return parse_reference(_object(raw))

    def save(self, camera: str, reference: PictureReference | None) -> None:
        """Keep a reference, or none.

        Raises:
            StorageError: the disk refuses; what was there before stays.
            PermissionDeniedError: the directory may not be written.
        """
        if reference is None:
            remove(self._reference(camera))
            return
        make_directory(self._directory / camera)
        write_atomic(self._reference(camera), json.dumps(reference_fields(reference)).encode())

    def set_aside(self, camera: str) -> None:
        """Move a damaged reference out of the way.

        Raises:
            StorageError: the disk refuses.
            PermissionDeniedError: the directory may not be written.
        """
        move_aside(self._reference(camera), "damaged")

    def wish(self, camera: str) -> Wish | None:
        """Return what is wished for, ``None`` when nothing is.

        Raises:
            DataError: the wish is not understood.
            StorageError: it cannot be read.
            PermissionDeniedError: it may not be read.
        """
        try:
            fields = _object(read_limited(self._wish(camera), WISH_BYTES_MAX))
        except FileNotFoundError:
            return None
        match fields:
            case {"id": str(name), "seconds": int() | float() as seconds} if 0 <= seconds <= SECONDS_MAX:
                error, help_ = fields.get("error"), fields.get("help")
                return Wish(
                    name,
                    seconds,
                    error if isinstance(error, str) else None,
                    help_ if isinstance(help_, str) else None,
                )
        raise DataError("picture.wish", f"{self._wish(camera)} is not understood")

    def write_wish(self, camera: str, wish: Wish | None) -> None:
        """Leave a wish, or take it away.

        Raises:
            StorageError: the disk refuses.
            PermissionDeniedError: the directory may not be written.
        """
        if wish is None:
            remove(self._wish(camera))
            return
        make_directory(self._directory / camera)
        write_atomic(self._wish(camera), json.dumps(asdict(wish)).encode(), durable=False)

    def _reference(self, camera: str) -> Path:
        return self._directory / camera / "reference.json"

    def _wish(self, camera: str) -> Path:
        return self._directory / camera / "wish.json"


class PictureReferences:
    """Gives a line its references, and fulfils wishes; ``look`` belongs to one thread, which may wait for a disk."""

    def __init__(
        self,
        line: LineService,
        state_dir: Path,
        clock: Clock,
        *,
        tell: Callable[[Event], None],
        note: Callable[[str, dict[str, object]], None],
    ) -> None:
        """Serve ``line``, whose cameras get the references that there are before it runs.

        ``tell`` takes events and ``note`` entries of the record; neither may block.
        """
        self._line = line
        self._files = ReferenceFiles(state_dir)
        self._clock = clock
        self._tell = tell
        self._note = note
        self._begun: dict[str, str] = {}  # wishes by camera
        self._lock = threading.Lock()  # guards what the line's thread writes
        self._made: dict[str, tuple[str, PictureReference | DataError]] = {}
        for camera, pictures in self._cameras().items():
            pictures.refer(self._load(camera))

    def look(self) -> None:
        """Begin what is wished for and finish what was made; call once a second."""
        for camera, pictures in self._cameras().items():
            try:
                self._look(camera, pictures)
            except (StorageError, PermissionDeniedError) as error:
                logger.warning("the reference of camera %s: %s", camera, error)
            except DataError as error:
                logger.warning("%s", error)
                self._answer(camera, None)

    def _look(self, camera: str, pictures: Pictures) -> None:
        wish = self._files.wish(camera)
        if wish is None or wish.error is not None:
            return
        if self._begun.get(camera) != wish.id:
            if wish.seconds == 0:
                self._use(camera, pictures, None)
            elif self._begin(camera, pictures, wish):
                self._begun[camera] = wish.id
            return
        with self._lock:
            made = self._made.pop(camera, None)
        if made is None or made[0] != wish.id:
            return
        outcome = made[1]
        if isinstance(outcome, DataError):
            self._answer(camera, Wish(wish.id, wish.seconds, outcome.message, outcome.help))
        else:
            self._use(camera, pictures, outcome)

    def _begin(self, camera: str, pictures: Pictures, wish: Wish) -> bool:
        def done(outcome: PictureReference | DataError) -> None:
            with self._lock:
                self._made[camera] = wish.id, outcome

        def begin() -> None:
            self._line.line.within(wish.seconds + LATE_S, lambda _: pictures.make_reference(wish.seconds, done))

        return self._post(begin)

    def _use(self, camera: str, pictures: Pictures, reference: PictureReference | None) -> None:
        """Keep a reference, or none, and compare with it from now on: first on the disk, then in force, then told."""
        try:
            self._files.save(camera, reference)
        except (StorageError, PermissionDeniedError) as error:
            wish = self._files.wish(camera)
            if wish is not None:
                self._answer(camera, Wish(wish.id, wish.seconds, error.message, error.help))
            return
        if not self._post(lambda: pictures.refer(reference)):
            logger.warning("the new reference of camera %s is used from the next start on", camera)
        self._begun.pop(camera, None)
        fields: dict[str, object] = {"camera": camera}
        text = f"camera {camera} has no reference picture any more"
        if reference is not None:
            fields |= {"looks": reference.looks, "unjudged": list(unjudged(reference))}
            text = f"camera {camera} has a new reference picture"
        self._note("camera.reference", fields)
        self._tell(Event(camera, "camera.reference", text, self._clock.utc_ns(), fields))
        self._answer(camera, None)

    def _answer(self, camera: str, wish: Wish | None) -> None:
        try:
            self._files.write_wish(camera, wish)
        except (StorageError, PermissionDeniedError) as error:
            logger.warning("the wish for a reference of camera %s cannot be answered: %s", camera, error)

    def _post(self, turn: Callable[[], None]) -> bool:
        try:
            return self._line.loop.post(turn)
        except BusyError:
            return False

    def _load(self, camera: str) -> PictureReference | None:
        try:
            return self._files.load(camera)
        except EdgeError as error:
            text = f"camera {camera} is judged without its reference picture: {error.message}"
            logger.error("%s", text)  # noqa: TRY400 - for people
            self._tell(Event(camera, "camera.reference_lost", text, self._clock.utc_ns(), {"camera": camera}))
            if isinstance(error, DataError):
                self._aside(camera)
            return None

    def _aside(self, camera: str) -> None:
        try:
            self._files.set_aside(camera)
        except (StorageError, PermissionDeniedError) as error:
            logger.warning("it cannot be set aside: %s", error)

    def _cameras(self) -> dict[str, Pictures]:
        cameras = self._line.cameras.items()
        return {name: link.pictures for name, link in cameras if link.pictures is not None}


def _object(raw: bytes) -> dict[str, object]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DataError("picture.reference", f"not JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError("picture.reference", "not a JSON object")
    return found
