"""No thread outlives its group, no failure goes unseen, and every stop is bounded."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import pytest

from edge_runtime.system.service import ServiceGroup, Stop, StuckThreadError

if TYPE_CHECKING:
    from collections.abc import Callable

LONG_S = 20.0


class _Service:
    """Runs a function as a service."""

    def __init__(self, run: Callable[[Stop], None], name: str = "worker") -> None:
        self._run = run
        self.name = name

    def run(self, stop: Stop) -> None:
        self._run(stop)


def _patient(stop: Stop) -> None:
    """Work as a service should."""
    stop.wait(LONG_S)


def _failing(_: Stop) -> None:
    msg = "the disk is gone"
    raise OSError(msg)


def _wait_for(event: threading.Event) -> None:
    event.wait(LONG_S)


def _wait(group: ServiceGroup) -> None:
    assert group.wait(LONG_S)


def _nothing(_: ServiceGroup) -> None:
    """End the block at once."""


def _broken_body(_: ServiceGroup) -> None:
    raise KeyError("body")


def _run(*services: _Service, body: Callable[[ServiceGroup], None] = _wait, join_timeout_s: float = LONG_S) -> None:
    with ServiceGroup(join_timeout_s=join_timeout_s) as group:
        for service in services:
            group.start(service)
        body(group)


def _raised(caught: pytest.ExceptionInfo[ExceptionGroup[Exception]]) -> list[tuple[type[Exception], str]]:
    return [(type(e), str(e)) for e in caught.value.exceptions]


def test_services_run_until_the_end_of_the_block() -> None:
    ended: list[str] = []
    started = threading.Barrier(3)

    def run(stop: Stop) -> None:
        started.wait(LONG_S)
        stop.wait(LONG_S)
        ended.append(threading.current_thread().name)

    with ServiceGroup() as group:
        group.start(_Service(run, "one"))
        group.start(_Service(run, "two"))
        started.wait(LONG_S)
        assert ended == []
    assert sorted(ended) == ["one", "two"]


def test_services_are_joined_in_the_reverse_order_of_their_start() -> None:
    release = threading.Event()
    services = [_Service(lambda _: _wait_for(release), name) for name in ("first", "last")]
    with pytest.raises(ExceptionGroup) as caught:
        _run(*services, body=_nothing, join_timeout_s=0.1)
    release.set()
    assert [text.partition(" ")[0] for _, text in _raised(caught)] == ["last", "first"]


def test_a_failure_stops_the_siblings_and_is_raised_with_the_name_of_its_service() -> None:
    def body(group: ServiceGroup) -> None:
        assert group.wait(LONG_S)
        assert [str(e) for e in group.failures] == ["the disk is gone"]

    with pytest.raises(ExceptionGroup) as caught:
        _run(_Service(_patient), _Service(_failing, "publish/spool"), body=body)
    assert _raised(caught) == [(OSError, "the disk is gone")]
    assert caught.value.exceptions[0].__notes__ == ["in service publish/spool"]


def test_a_service_that_ends_unasked_is_a_failure() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        _run(_Service(lambda _: None, "watcher"))
    assert _raised(caught) == [(RuntimeError, "watcher ended although nobody asked it to")]


def test_a_service_that_exits_like_a_program_is_a_failure() -> None:
    def leave(_: Stop) -> None:
        raise SystemExit(3)

    with pytest.raises(ExceptionGroup) as caught:
        _run(_Service(leave, "watcher"))
    assert _raised(caught) == [(RuntimeError, "watcher called exit(3)")]


def test_a_service_that_fails_while_it_stops_is_a_failure() -> None:
    def run(stop: Stop) -> None:
        stop.wait(LONG_S)
        msg = "cannot flush"
        raise OSError(msg)

    with pytest.raises(ExceptionGroup) as caught:
        _run(_Service(run), body=_nothing)
    assert _raised(caught) == [(OSError, "cannot flush")]


def test_an_error_in_the_body_stops_the_services_and_stays_what_it_was(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KeyError, match="body"):
        _run(_Service(_patient), body=_broken_body)
    assert caplog.records == []


def test_failures_behind_an_error_in_the_body_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    def body(group: ServiceGroup) -> None:
        group.wait(LONG_S)
        _broken_body(group)

    with pytest.raises(KeyError, match="body"):
        _run(_Service(_failing), body=body)
    assert [(r.levelno, "the disk is gone" in r.getMessage()) for r in caplog.records] == [(logging.ERROR, True)]


def test_a_thread_that_ignores_the_stop_is_named_with_where_it_stands() -> None:
    release = threading.Event()

    def deaf_service(_: Stop) -> None:
        _wait_for(release)

    with pytest.raises(ExceptionGroup) as caught:
        _run(_Service(deaf_service, "camera/top"), body=_nothing, join_timeout_s=0.1)
    release.set()
    [(kind, text)] = _raised(caught)
    assert kind is StuckThreadError
    assert text.startswith("camera/top did not stop:")
    assert "deaf_service" in text


def test_a_thread_that_cannot_be_started_does_not_hide_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    def body(group: ServiceGroup) -> None:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        group.start(_Service(_patient))

    with pytest.raises(RuntimeError, match="can't start new thread"):
        _run(_Service(_patient), body=body)


def test_wait_says_whether_a_stop_came_in_time() -> None:
    with ServiceGroup() as group:
        assert not group.wait(0.01)
        group.stop.set()
        assert group.wait(LONG_S)


def test_a_stop_can_be_seen_and_waited_for() -> None:
    stop = Stop()
    assert not stop.is_set()
    assert not stop.wait(0)
    stop.set()
    stop.set()
    assert stop.is_set()
    assert stop.wait(LONG_S)


def test_a_stop_says_how_much_time_there_is_and_a_second_one_may_only_shorten_it() -> None:
    stop = Stop()
    assert stop.left_s > 1e9
    stop.set(5.0)
    assert 4.0 < stop.left_s <= 5.0
    stop.set(2.0)
    stop.set(9.0)
    assert 1.0 < stop.left_s <= 2.0


def test_a_service_knows_how_long_its_group_waits_for_it() -> None:
    left: list[float] = []

    def run(stop: Stop) -> None:
        stop.wait(LONG_S)
        left.append(stop.left_s)

    with ServiceGroup(join_timeout_s=9.0) as group:
        group.start(_Service(run))
        group.join_timeout_s = 5.0
    assert 4.0 < left[0] <= 5.0


def test_an_empty_group_ends_at_once() -> None:
    with ServiceGroup():
        pass
