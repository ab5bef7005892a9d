"""Models that are wrong on purpose are what they are said to be: the vet stops what it can, and passes the others.

What it passes does its harm for live pictures only, which the same vet shows with live pictures among the golden ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_runtime.engine.gates.irgate import inspect_ir
from tests.bad_models import GOLDEN, KINDS, LIVE_BIT, nan_later, write
from tests.fault.trials import Outcome, Trials

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE_S = 3.0
PATIENCE_S = 50.0  # for what ends by itself
MEMORY_BYTES = 2 << 30
LIVE = (*GOLDEN, 1 << LIVE_BIT, 1 << LIVE_BIT | 8)
STOPPED = {
    "crash_load": ("model.crashed",),
    "hang_load": ("model.hangs",),
    "memory_load": ("model.memory", "model.run_failed"),
    "wrong": ("golden.differs",),
}
LIVE_ENDS = {
    "crash_live": "crashed",
    "hang_live": "hung",
    "memory_live": "golden",  # the step; its words are the engine's
    "nan_later": "golden",
}


def tried(folder: Path, kinds: dict[str, tuple[int, ...]]) -> dict[str, Outcome]:
    """Try a package of each kind, with these golden frames."""
    found: dict[str, Outcome] = {}
    with Trials(deadline_s=PATIENCE_S, memory_bytes=MEMORY_BYTES, parallel=4, load_only=False) as trials:
        packages: dict[bool, list[tuple[str, Path]]] = {False: [], True: []}  # by whether it hangs
        for kind, golden in kinds.items():
            network = nan_later(1, after=1) if kind == "nan_later" else None
            path = write(folder / kind, kind, release=1, golden=golden, network=network)
            packages[kind == "hang_load" or (kind == "hang_live" and golden is LIVE)].append((kind, path))
        for hangs, models in packages.items():
            trials.deadline_s = DEADLINE_S if hangs else PATIENCE_S
            trials.run(iter(models), lambda outcome: found.update({outcome.label: outcome}))
        assert trials.zygote_lives
    return found


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    return tried(tmp_path_factory.mktemp("stopped"), dict.fromkeys(STOPPED, GOLDEN))


@pytest.mark.parametrize("kind", STOPPED)
def test_the_vet_stops_what_shows_before_it_is_live(stopped: dict[str, Outcome], kind: str) -> None:
    error = stopped[kind].error
    assert error is not None
    assert error.code in STOPPED[kind], error


def test_attack_36_a_model_that_hangs_while_it_loads_is_ended_at_its_deadline(stopped: dict[str, Outcome]) -> None:
    """A few hundred bytes of XML that keep the compiler busy for ever."""
    assert stopped["hang_load"].fate == "hung"
    assert DEADLINE_S <= stopped["hang_load"].seconds < DEADLINE_S + 3


def test_attack_37_a_model_that_takes_all_memory_is_ended_by_its_limit(stopped: dict[str, Outcome]) -> None:
    """It asks for 64 GiB; nothing else notices."""
    assert stopped["memory_load"].fate in ("engine", "out of memory")


@pytest.mark.parametrize("kind", KINDS)
def test_the_gate_cannot_know_of_it(tmp_path: Path, kind: str) -> None:
    root = write(tmp_path / kind, kind, release=1)
    xml = (root / "model.xml").read_bytes()
    inspect_ir(xml, kind, (root / "model.bin").stat().st_size)


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_nothing_is_wrong_with_the_others_before_they_are_live(tmp_path: Path) -> None:
    quiet = dict.fromkeys(KINDS.keys() - STOPPED.keys(), GOLDEN)
    assert {kind: one.error for kind, one in tried(tmp_path, quiet).items()} == dict.fromkeys(quiet)


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_live_they_do_what_they_are_said_to_do(tmp_path: Path) -> None:
    found = tried(tmp_path, dict.fromkeys(LIVE_ENDS, LIVE))
    assert {kind: one.fate for kind, one in found.items()} == LIVE_ENDS
