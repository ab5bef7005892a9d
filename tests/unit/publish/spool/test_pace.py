from __future__ import annotations

import pytest

from edge_runtime.publish.spool.pace import GROUP_MAX, GROUP_NS, Pace


def test_what_comes_alone_is_written_at_once_and_what_follows_soon_gathers() -> None:
    pace = Pace()
    assert pace.left_s(10, 0) == 0.0
    pace.began(1_000, 1)
    assert pace.left_s(1_000, 1) == pytest.approx(GROUP_NS / 1e9)
    assert pace.left_s(1_000 + GROUP_NS, 1) == 0.0
    assert pace.left_s(1_000 + 2 * GROUP_NS, 0) == 0.0


def test_answers_that_were_written_alone_keep_nothing_waiting() -> None:
    pace = Pace()
    pace.began(1_000, 1)
    pace.began(1_000 + GROUP_NS, 0)
    assert pace.left_s(1_000 + GROUP_NS, 1) == 0.0


def test_a_queue_that_fills_does_not_wait() -> None:
    pace = Pace()
    pace.began(1_000, 1)
    assert pace.left_s(1_000, GROUP_MAX) == 0.0


def test_it_is_flat_out_while_more_documents_are_written_than_lines_make() -> None:
    pace = Pace()
    for turn in range(1, 300):  # 500 a second
        pace.began(turn * 2_000_000, 1)
        assert not pace.flat_out
    for turn in range(300, 400):  # 4000 a second
        pace.began(turn * 2_000_000, 8)
    assert pace.flat_out
    pace.began(400 * 2_000_000 + 1_000_000_000, 0)
    assert not pace.flat_out
