"""When the registry is looked at: a manual clock, looks that do what the test says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from edge_runtime.app.registry_watch import NUDGE_S, SLICE_S, RegistryWatch
from edge_runtime.control.commands.refusal import RefusedError
from edge_runtime.control.commands.verbs import check_arguments
from edge_runtime.core.command import Status
from edge_runtime.core.errors import BusyError, EdgeError, UnavailableError
from edge_runtime.registry.box.nudge import nudge
from edge_runtime.registry.box.report import Contact, Report, SlotReport, Standing
from tests.fakes.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.registry.box.order import Order
    from edge_runtime.system.service import Stop

GOOD = Report(Contact.OK, slots=(SlotReport("defects", "weld", "stable", Standing.CURRENT),))
NOWHERE = Path("/nowhere")
AWAY = Report(Contact.UNREACHABLE, "registry.timeout", "it does not answer")


class _Stop:
    """Time passes while somebody waits; ends after ``seconds``."""

    def __init__(self, clock: ManualClock, seconds: float, every: Callable[[], None]) -> None:
        self._clock = clock
        self._end_ns = clock.mono_ns() + round(seconds * 1e9)
        self._every = every

    def wait(self, timeout_s: float) -> bool:
        self._every()
        self._clock.advance_ms(timeout_s * 1000)
        return self.is_set()

    def is_set(self) -> bool:
        return self._clock.mono_ns() >= self._end_ns


class Bench:
    """Runs a watch and notes when it looked, in seconds."""

    def __init__(
        self, poll_s: float = 60, answers: list[Report | EdgeError] | None = None, root: Path = NOWHERE
    ) -> None:
        self.clock = ManualClock()
        self.began_ns = self.clock.mono_ns()
        self.answers = answers or []
        self.looked: list[float] = []
        self.fresh: list[bool] = []
        self.reports: list[Report] = []
        self.watch = RegistryWatch(
            cast("Order", SimpleNamespace(root=root)),
            poll_s,
            self.clock,
            look=self._look,
            on_report=self.reports.append,
            uniform=lambda low, high: (low + high) / 2,
        )

    def _look(self, order: Order, stop: Stop, /, *, fresh: bool) -> Report:
        del order, stop
        self.looked.append((self.clock.mono_ns() - self.began_ns) / 1e9)
        self.fresh.append(fresh)
        answer = self.answers.pop(0) if self.answers else GOOD
        if isinstance(answer, EdgeError):
            raise answer
        return answer

    def run(self, seconds: float, every: Callable[[], Any] = lambda: None) -> None:
        self.watch.run(cast("Stop", _Stop(self.clock, seconds, every)))


def test_it_looks_when_it_starts_and_then_every_so_often() -> None:
    bench = Bench(60)
    bench.run(200)
    assert bench.looked == pytest.approx([0.5, 60.5, 120.5, 180.5], abs=1)
    assert bench.fresh == [True, False, False, False]
    assert bench.reports == [GOOD] * 4


def test_boxes_do_not_look_at_the_same_moment() -> None:
    looks = []
    for _ in range(20):
        watch = RegistryWatch(
            cast("Order", SimpleNamespace(root=NOWHERE)),
            60,
            ManualClock(),
            look=lambda *_, **__: GOOD,
            on_report=lambda _: None,
        )
        looks.append(watch._pause(GOOD))
    assert len(set(looks)) > 15
    assert all(48 <= one <= 72 for one in looks)


def test_what_does_not_answer_is_asked_less_and_less_often_but_within_bounds() -> None:
    bench = Bench(60, [AWAY] * 20)
    bench.run(5000)
    pauses = [after - before for before, after in zip(bench.looked, bench.looked[1:], strict=False)]
    assert pauses[:5] == pytest.approx([60, 120, 240, 480, 900], abs=1)
    assert max(pauses) < 901


def test_what_answers_again_is_asked_as_usual() -> None:
    bench = Bench(60, [AWAY, AWAY, AWAY, GOOD])
    bench.run(700)
    assert bench.looked[-1] - bench.looked[-2] == pytest.approx(60, abs=1)


def test_a_release_that_could_not_be_had_counts_as_a_failure_and_a_refused_one_does_not() -> None:
    def slot(standing: Standing) -> Report:
        return Report(Contact.OK, slots=(SlotReport("defects", "weld", "stable", standing),))

    retry, refused = Bench(60, [slot(Standing.RETRY)] * 9), Bench(60, [slot(Standing.REFUSED)] * 9)
    retry.run(400)
    refused.run(400)
    assert (len(retry.looked), len(refused.looked)) == (3, 7)


def test_it_looks_at_once_when_a_verb_at_the_box_has_looked(tmp_path: Path) -> None:
    nudge(tmp_path)  # before the start: the first look comes anyway
    bench = Bench(3600, [AWAY, GOOD, GOOD], tmp_path)
    moments = iter([20.0, 21.0])
    due = [next(moments)]

    def pull() -> None:
        if due and (bench.clock.mono_ns() - bench.began_ns) / 1e9 >= due[0]:
            nudge(tmp_path)
            due[0] = next(moments, 1e9)

    bench.run(60, pull)
    assert bench.looked == pytest.approx([0.5, 20.2, 21.2], abs=0.5)


def test_a_nudge_on_a_disk_that_refuses_is_only_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    nudge(tmp_path / "missing")
    assert "does not know yet" in caplog.text


def test_attack_34_a_flood_of_nudges_is_one_look_in_ten_seconds() -> None:
    bench = Bench(3600)

    def flood() -> None:
        for _ in range(1000):
            bench.watch.nudge()

    bench.run(60, flood)
    assert 5 <= len(bench.looked) <= 7
    pauses = [after - before for before, after in zip(bench.looked, bench.looked[1:], strict=False)]
    assert min(pauses) >= NUDGE_S


@pytest.mark.parametrize("payload", [{"release": "weld@evil"}, {"digest": "sha256:00"}, {"url": "oci://evil/x"}])
def test_attack_34_a_nudge_with_a_payload_is_refused(payload: dict[str, object]) -> None:
    assert check_arguments("model.check", {"correlationId": "1"}) == {}
    with pytest.raises(RefusedError) as caught:
        check_arguments("model.check", payload)
    assert caught.value.status is Status.MALFORMED


def test_a_nudge_is_followed_at_once_when_there_was_no_look_lately() -> None:
    bench = Bench(3600)
    nudged = iter([False] * 200 + [True])
    bench.run(200, lambda: bench.watch.nudge() if next(nudged, False) else None)
    assert len(bench.looked) == 2
    assert bench.looked[1] == pytest.approx(200 * SLICE_S, abs=1)


def test_whoever_nudges_is_told_when() -> None:
    bench = Bench(3600)
    assert bench.watch.nudge() == 0
    bench.run(4)
    assert bench.watch.nudge() == pytest.approx(NUDGE_S - 4, abs=1)


def test_a_verb_that_is_at_it_is_waited_for_without_a_word() -> None:
    bench = Bench(60, [BusyError("storage.locked", "held by process 7")])
    bench.run(10)
    assert (len(bench.looked), len(bench.reports)) == (2, 1)
    assert bench.looked[1] - bench.looked[0] == pytest.approx(5, abs=1)


def test_a_process_that_dies_is_a_failure_and_what_was_known_of_the_slots_stays() -> None:
    bench = Bench(60, [GOOD, UnavailableError("registry.crashed", "it ended with SIGKILL")])
    bench.run(70)
    assert bench.reports[1] == Report(Contact.FAILED, "registry.crashed", "it ended with SIGKILL", GOOD.slots)


def test_the_first_good_look_is_a_fresh_one() -> None:
    bench = Bench(60, [UnavailableError("registry.crashed", "x"), GOOD])
    bench.run(130)
    assert bench.fresh == [True, True, False]


def test_a_look_that_is_ended_by_the_stop_is_no_failure() -> None:
    bench = Bench(60)
    stop = _Stop(bench.clock, 5, lambda: None)

    def ended(order: Order, stop_: Stop, /, *, fresh: bool) -> Report:
        del order, stop_, fresh
        bench.clock.advance_ms(10_000)
        raise UnavailableError("registry.stopped", "it was stopped")

    bench.watch._look = ended
    bench.watch.run(cast("Stop", stop))
    assert bench.reports == []
