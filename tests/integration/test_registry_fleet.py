"""A thousand simulated boxes follow what a publisher signs: rings, percentages, pause, kill, floors."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edge_runtime.registry.carriers.open import Access, open_carrier
from edge_runtime.registry.trust.refresh import refresh
from tests.release_desk import SITE, ReleaseDesk
from tests.soak.fleet import Polled, Story, make_boxes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.soak.fleet import Box


def test_a_thousand_boxes_follow_rings_and_percentages_and_stop_when_paused(tmp_path: Path) -> None:
    """What was signed is verified once for all of them; ``python -m tests.soak.fleet`` lets each do it."""
    url = f"oci-layout:{tmp_path}/layout"
    with ReleaseDesk(tmp_path / "desk", url) as desk:
        there = Polled(open_carrier(url, Access()))
        pinned = desk.root.read_bytes()

        def poll(boxes: Iterable[Box]) -> None:
            there.look()
            now = datetime.now(UTC)
            trusted = refresh({}, there.fetch, pinned, None, now=now, site=SITE).believed()
            for box in boxes:
                box.follow(trusted, now)

        story = Story(desk, make_boxes(1000), poll)
        story.play()
    assert list(story.told.values())[:2] == [0, 10]
