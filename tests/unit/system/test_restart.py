from __future__ import annotations

import pytest

from edge_runtime.system.restart import Restart, RestartPolicy


def test_the_first_restart_is_at_once_and_later_ones_are_slower_up_to_ten_seconds() -> None:
    policy = RestartPolicy()
    failures, delays = 0, []
    for _ in range(10):
        decision = policy.decide(failures, worked_s=1.0)
        failures = decision.failures
        delays.append(decision.delay_s)
    assert delays == [0.0, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


def test_sixty_good_seconds_make_good_for_everything() -> None:
    policy = RestartPolicy()
    assert policy.decide(7, worked_s=60.0) == Restart(failures=1, delay_s=0.0)


def test_each_five_good_seconds_make_good_for_one_failure() -> None:
    policy = RestartPolicy()
    assert policy.decide(7, worked_s=4.9) == Restart(failures=8, delay_s=10.0)
    assert policy.decide(7, worked_s=5.0) == Restart(failures=7, delay_s=8.0)
    assert policy.decide(7, worked_s=34.9) == Restart(failures=2, delay_s=0.2)
    assert policy.decide(1, worked_s=5.0) == Restart(failures=1, delay_s=0.0)


def test_it_never_gives_up() -> None:
    assert RestartPolicy().decide(1_000_000, worked_s=0.0) == Restart(failures=1_000_001, delay_s=10.0)


@pytest.mark.parametrize("delays", [(), (0.0, -1.0)])
def test_a_policy_without_sensible_delays_is_refused(delays: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="delays_s"):
        RestartPolicy(delays_s=delays)
