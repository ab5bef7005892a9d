"""Measure a pull from a real docker-registry on loopback, and plain urllib3 + SHA-256 + fsync beside it in turns.

Both ends of a pull are the same: the file is on the disk, hashed, synced, under its name. Speeds are medians in MB/s,
``cpu_ms`` is what one pull takes of our process (median), ``growth_mib`` how far the resident memory of a process rises
while it pulls, after a first small pull. ``resume`` is a pull that is killed (kill -9) at 67 % and begun again: how
much is missing then, and how much is fetched.

python tools/bench/pull.py [--mb 30] [--runs 11] [--blobs 1] [--dir DIR]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import urllib3

from edge_runtime.registry.carriers.open import Access, open_carrier
from edge_runtime.registry.descriptor import Descriptor
from edge_runtime.registry.download import Downloader
from edge_runtime.registry.store.store import ModelStore
from tests.registries import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence

OCTETS = "application/octet-stream"
CHUNK_BYTES = 1 << 20
KILL_AT = 0.67


def push(registry: Registry, raw: bytes) -> Descriptor:
    """Upload a blob in one piece (OCI distribution-spec 1.1, Pushing a blob monolithically)."""
    blob = Descriptor("sha256:" + hashlib.sha256(raw).hexdigest(), len(raw), OCTETS)
    with urllib3.PoolManager() as http:
        place = http.request("POST", f"{registry.url}/v2/bench/weld/blobs/uploads/").headers["Location"]
        separator = "&" if "?" in place else "?"
        answer = http.request("PUT", f"{place}{separator}digest={blob.digest}", body=raw)
        assert answer.status == 201, answer.data  # noqa: PLR2004, S101
    return blob


def ours(address: str, blobs: Sequence[Descriptor], directory: Path) -> float:
    """Pull into an empty store; return the seconds."""
    store = ModelStore(directory)
    with store.updating():
        store.prepare()
        started = time.perf_counter()
        loader = Downloader(store.blobs, [lambda: open_carrier(f"oci://{address}/bench", Access())])
        loader.fetch("weld", blobs)
        return time.perf_counter() - started


def plain(address: str, blobs: Sequence[Descriptor], directory: Path) -> float:
    """Pull as a short script would; return the seconds."""
    directory.mkdir()
    started = time.perf_counter()
    with urllib3.PoolManager() as http:
        for blob in blobs:
            url = f"http://{address}/v2/bench/weld/blobs/{blob.digest}"
            answer = http.request("GET", url, preload_content=False)
            seen, path = hashlib.sha256(), directory / "file"
            with path.open("wb") as file:
                for chunk in answer.stream(CHUNK_BYTES):
                    seen.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            answer.release_conn()
            if seen.hexdigest() != blob.hex:
                raise ValueError(blob.digest)
            path.rename(directory / blob.hex)
            descriptor = os.open(directory, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
    return time.perf_counter() - started


WAYS = {"ours": ours, "plain": plain}


def growth(way: str, address: str, blobs: Sequence[Descriptor], small: Descriptor, directory: Path) -> float:
    """Return by how many MiB a process of its own grows; see the top."""
    arguments = [way, address, str(directory), *(f"{blob.digest}={blob.size}" for blob in (small, *blobs))]
    done = subprocess.run([sys.executable, __file__, "--child", *arguments], check=True, capture_output=True, text=True)
    return float(done.stdout)


def grow(way: str, address: str, directory: Path, blobs: Sequence[Descriptor]) -> None:
    """Pull the first one, then the rest; print how much more memory that took at its peak."""
    WAYS[way](address, blobs[:1], directory / f"{way}-small")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: proc(5)
    before = _status("VmRSS")
    WAYS[way](address, blobs[1:], directory / f"{way}-all")
    print(round((_status("VmHWM") - before) / 1024, 1))


def killed(address: str, directory: Path, blob: Descriptor) -> None:
    """Pull two thirds, and die."""

    def progress(done: int, total: int) -> None:
        if done >= KILL_AT * total:
            os.kill(os.getpid(), signal.SIGKILL)

    store = ModelStore(directory)
    store.prepare()
    source = open_carrier(f"oci://{address}/bench", Access())
    Downloader(store.blobs, [lambda: source], on_progress=progress).fetch("weld", [blob])


def resume(address: str, blob: Descriptor, directory: Path) -> dict[str, float]:
    """Return what is missing after a kill, and what is fetched then, in 10^6 bytes."""
    arguments = ["killed", address, str(directory), f"{blob.digest}={blob.size}"]
    subprocess.run([sys.executable, __file__, "--child", *arguments], check=False)
    store = ModelStore(directory)
    missing = blob.size - store.blobs.part_bytes(blob)
    source = open_carrier(f"oci://{address}/bench", Access())
    fetched = Downloader(store.blobs, [lambda: source]).fetch("weld", [blob]).read_bytes
    return {"missing_mb": missing / 1e6, "fetched_mb": fetched / 1e6}


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=30, help="10^6 bytes, of all blobs together")
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--blobs", type=int, default=1)
    parser.add_argument("--dir", type=Path, default=None, help="where the files go")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        way, address, directory, *texts = chosen.child
        pairs = [text.split("=") for text in texts]
        blobs = [Descriptor(digest, int(size), OCTETS) for digest, size in pairs]
        if way == "killed":
            killed(address, Path(directory), blobs[0])
        grow(way, address, Path(directory), blobs)
        return
    chance, size = random.Random(1), chosen.mb * 1_000_000 // chosen.blobs  # noqa: S311 - bytes that do not compress
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    cpus: dict[str, list[float]] = {way: [] for way in WAYS}
    with Registry() as registry, tempfile.TemporaryDirectory(dir=chosen.dir) as place:
        blobs = [push(registry, chance.randbytes(size)) for _ in range(chosen.blobs)]
        small = push(registry, b"small")
        for run in range(chosen.runs):
            for way in sorted(WAYS, reverse=bool(run % 2)):
                cpu = time.process_time()
                times[way].append(WAYS[way](registry.address, blobs, Path(place, f"{way}-{run}")))
                cpus[way].append(time.process_time() - cpu)
        grown = {way: growth(way, registry.address, blobs, small, Path(place)) for way in WAYS}
        resumed = resume(registry.address, blobs[0], Path(place, "resume"))
    mb = size * chosen.blobs / 1e6
    medians = {way: statistics.median(one) for way, one in times.items()}
    report: dict[str, object] = {"mb": mb, "blobs": chosen.blobs, "runs": chosen.runs}
    for way in WAYS:
        speeds = sorted(mb / one for one in times[way])
        report[way] = {
            "mb_per_s": round(mb / medians[way]),
            "slowest": round(speeds[0]),
            "fastest": round(speeds[-1]),
            "cpu_ms": round(1000 * statistics.median(cpus[way])),
            "growth_mib": grown[way],
        }
    report["ratio"] = round(medians["plain"] / medians["ours"], 2)
    report["resume"] = resumed
    print(json.dumps(report))


if __name__ == "__main__":
    main()
