from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.registry.store.quarantine import Quarantine, Refusal

if TYPE_CHECKING:
    from pathlib import Path

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def test_what_failed_is_refused_until_the_operators_say_something_newer(tmp_path: Path) -> None:
    Quarantine(tmp_path).add(A, "golden frame 3: another label", 7)
    after = Quarantine(tmp_path)
    assert after.refusal(A, 7) == Refusal("golden frame 3: another label", 7)
    assert after.refusal(A, 6) is not None
    assert after.refusal(A, 8) is None
    assert after.refusal(B, 7) is None


def test_a_second_failure_counts_from_the_newer_wish(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path)
    quarantine.add(A, "first", 1)
    quarantine.add(A, "second", 5)
    assert quarantine.entries() == {A: Refusal("second", 5)}


def test_the_oldest_is_forgotten_when_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.registry.store.quarantine.ENTRIES_MAX", 5)
    quarantine = Quarantine(tmp_path)
    quarantine.add(B, "old", 1)
    for number in range(5):
        quarantine.add(f"sha256:{number:064x}", "x" * 2000, 2 + number)
    assert len(quarantine.entries()) == 5
    assert quarantine.refusal(B, 1) is None
    quarantine.add(A, "the newest is kept even when others have the same seq", 2)
    assert len(quarantine.entries()) == 5
    assert quarantine.refusal(A, 2) is not None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"schema":"edge-quarantine/1","refused":{"sha256:',
        b'{"schema":"edge-quarantine/2","refused":{}}',
        b'{"schema":"edge-quarantine/1","refused":{"sha256:' + b"a" * 64 + b'":{"reason":3,"seq":1}}}',
        b'{"schema":"edge-quarantine/1","refused":{"../..":{"reason":"x","seq":1}}}',
        b'{"schema":"edge-quarantine/1","refused":[]}',
        b" " * (2 << 20),
    ],
)
def test_a_damaged_file_counts_as_empty_and_is_written_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "quarantine.json").write_bytes(content)
    quarantine = Quarantine(tmp_path)
    assert quarantine.entries() == {}
    quarantine.add(A, "again", 3)
    assert quarantine.entries() == {A: Refusal("again", 3)}


def test_only_digests_are_kept(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        Quarantine(tmp_path).add("latest", "no digest", 1)
