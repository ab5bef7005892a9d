"""The attacks on the way of a model to a box that must be refused, and the tests that show it.

    python -m tests.attacks          writes docs/registry-attacks.md

A test shows that an attack is refused when it is named ``test_attack_NN_...`` and runs by default.
"""

from __future__ import annotations

import ast
import functools
import re
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parents[1]
PAGE = TOP / "docs" / "registry-attacks.md"
_NAME = re.compile(r"test_attack_(\d\d)_\w+")

_HEAD = """\
# Attacks on the way of a model to a box

What an attacker may try who holds the registry, the network, a USB stick, one of the keys, or the clock; where it is
refused; and the test that fails if it is not. This page is written by `python -m tests.attacks`, and a test fails when
it is not what that prints. Keys and roles are explained in [registry.md](registry.md).

| | attack | refused by | shown by |
|---|---|---|---|
"""

_TAIL = """
35 to 43 concern a model that is on the box already: how it comes to run there, and what happens to it then.
"""


@dataclass(frozen=True)
class Attack:
    """One thing that must be refused, and the module of ``edge_runtime`` that refuses it."""

    number: int
    what: str
    where: str


ATTACKS = (
    Attack(1, "a flipped byte in weights", "registry.download"),
    Attack(2, "a truncated blob", "registry.download"),
    Attack(3, "a blob longer than declared; chunks without end", "registry.download"),
    Attack(4, "another manifest for a pinned digest", "registry.download"),
    Attack(
        5, "a manifest above its cap, 10^5 layers, JSON nested too deep, duplicate keys", "registry.package.modelpack"
    ),
    Attack(6, "a declared size of 10^15 bytes", "registry.download"),
    Attack(7, "md5, sha1 or unknown digest algorithms", "registry.package.modelpack"),
    Attack(8, "a tag moved back to an older signed release", "registry.trust"),
    Attack(9, "a replayed old timestamp, snapshot or targets", "registry.trust"),
    Attack(10, "a replay after local metadata was truncated", "registry.store.floors"),
    Attack(11, "an expired timestamp (freeze)", "registry.trust"),
    Attack(12, "an expired timestamp, and the clock set to 1970", "registry.trust"),
    Attack(13, "a snapshot of one moment with targets of another (mix and match)", "registry.trust"),
    Attack(14, "a role dropped from the snapshot", "registry.trust"),
    Attack(15, "one of two release keys", "registry.trust"),
    Attack(16, "an unknown key", "registry.trust"),
    Attack(17, "a new root without the threshold of the old one", "registry.trust"),
    Attack(
        18, "fast-forward: version numbers run up with stolen online keys; and the recovery from it", "registry.trust"
    ),
    Attack(19, "a site's key signing another site's rollout, or a release", "registry.trust"),
    Attack(20, "a rollout that names an unsigned, a banned or a revoked release", "registry.trust"),
    Attack(21, "a replayed rollout sequence", "registry.trust"),
    Attack(22, "a release for other hardware or another runtime", "registry.trust"),
    Attack(
        23,
        "file paths with `../`, absolute, NUL, `C:\\`, unicode dots, duplicates, case collisions",
        "registry.package",
    ),
    Attack(24, "tar, gzip, zstd or code layers; links and devices in an archive", "registry.package"),
    Attack(25, "a symlinked blob or index on a USB stick, a FIFO on it", "registry.carriers"),
    Attack(26, "ONNX external data, custom operators, pickle", "registry.package"),
    Attack(
        27,
        "a bundle for another digest, with a wrong payload type, two signatures, a wrong key",
        "registry.trust.sigstore",
    ),
    Attack(
        28,
        "a redirect to http, to link-local or loopback addresses, with credentials to another host",
        "registry.carriers",
    ),
    Attack(29, "a token realm on a foreign host", "registry.carriers"),
    Attack(30, "one byte a second, and a full stall", "registry.download"),
    Attack(31, "TLS for another host, by an unknown authority, a downgrade to http", "registry.carriers"),
    Attack(32, "gzip as Content-Encoding of a blob", "registry.carriers"),
    Attack(33, "Content-Range that lies about the offset, a part of another object", "registry.carriers"),
    Attack(34, "a flood of nudges, a nudge with a payload", "registry.box"),
    Attack(35, "a model that is right on its golden frames and crashes live", "pipeline.standby"),
    Attack(36, "a model that hangs while it loads", "pipeline.vet_link"),
    Attack(37, "a model that takes all memory", "engine.vet"),
    Attack(38, "filling the disk", "registry.download"),
    Attack(39, "a second updater at the same time", "registry.store"),
    Attack(40, "a file modified on disk after its verification", "registry.store.releases"),
    Attack(41, "a previous slot that was tampered with, and a rollback that is forced", "registry.store.releases"),
    Attack(42, "a line taken out of the audit trail", "control.commands.chain"),
    Attack(43, "a revoked release that runs already", "app.deployments"),
)


@functools.cache
def named_by_tests() -> dict[int, list[str]]:
    """Return for each number the tests that carry it and run by default, as ``file::function``."""
    found: dict[int, list[str]] = {}
    for path in sorted((TOP / "tests").rglob("test_*.py")):
        text = path.read_text("utf-8")
        if "test_attack_" not in text:
            continue
        tree = ast.parse(text)
        if any(isinstance(node, ast.Assign) and "soak" in ast.unparse(node) for node in tree.body):
            continue  # pytestmark
        for node in ast.walk(tree):
            match = _NAME.fullmatch(node.name) if isinstance(node, ast.FunctionDef) else None
            if match and isinstance(node, ast.FunctionDef) and "soak" not in map(_last, node.decorator_list):
                found.setdefault(int(match[1]), []).append(f"{path.relative_to(TOP)}::{node.name}")
    return found


def page() -> str:
    """Return the page; attacks that no test shows refused are marked with ``MISSING``."""
    named = named_by_tests()
    lines = []
    for one in ATTACKS:
        tests = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in named.get(one.number, ["MISSING"]))
        lines.append(f"| {one.number} | {one.what} | `{one.where}` | {tests} |\n")
    return _HEAD + "".join(lines) + _TAIL


def _last(decorator: ast.expr) -> str:
    return ast.unparse(decorator).rpartition(".")[2].partition("(")[0]


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
