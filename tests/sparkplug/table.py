"""Which id of Sparkplug 3.0 is met by what: collected from the tests themselves.

    python -m tests.sparkplug.table          writes docs/sparkplug-conformance.md

An id counts as met when the observer has a rule for it, which must hold on recordings of the real node and which a
mutant has shown to fail, or when a test function names it.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.sparkplug import conformance
from tests.sparkplug.mutants import MUTANTS
from tests.sparkplug.not_applicable import NOT_APPLICABLE

HERE = Path(__file__).parent
TOP = HERE.parent.parent
PAGE = TOP / "docs" / "sparkplug-conformance.md"
_ID = re.compile(r"tck-id-[a-zA-Z0-9-]+")

_HEAD = """\
# Sparkplug B 3.0: conformance of the edge node

The specification numbers its normative statements; {total} of them concern an edge node or its devices. This table says
for each what shows that the node obeys, or why it does not apply. It is written by `python -m tests.sparkplug.table`,
and a test fails when it is not what that prints.

- *observer*: a rule in `tests/sparkplug/conformance.py`. It reads the packets between the real node and a real broker
  (`tests/sparkplug/test_node_conformance.py`) with no part of the node, and must be met there and never be broken. The
  conversation named beside it is a good one broken in that way: the rule was seen to fail on it.
- *test*: a test that names the id.
- *n/a*: does not apply, with the reason.

## What independent implementations make of it

`tests/sparkplug/test_interop.py` lets npm `sparkplug-payload` 1.0.3 and PyPI `pysparkplug` 0.6.1 read what our codec
writes and the other way round: every scalar type, 64 bit extremes, NaN, null, empty and non-ASCII text. Where they
disagree with each other or with the specification, the node stays away from what they disagree on:

| type | disagreement | so the node |
|---|---|---|
| Int8, Int16 below 0 | npm reads two's complement of 32 bits as we write it, pysparkplug of 8 and 16 | sends Int32 |
| UInt32 | the specification and pysparkplug use `int_value`, npm `long_value` | sends Int32, Int64 or UInt64 |
| integers in a DataSet or a template parameter | npm refuses them | sends neither |
| commands without timestamps or datatypes | hosts send them | takes them |

What comes in is read in either form.

## The ids

{observed} by the observer, {tested} by tests, {absent} do not apply.

| id (`tck-id-` left out) | how | shown by |
|---|---|---|
"""


def ids() -> list[str]:
    """Return the ids that concern an edge node, in their order."""
    return (HERE / "edge_ids.txt").read_text("utf-8").split()


def rules() -> set[str]:
    """Return the ids that the observer checks."""
    return set(_ID.findall(Path(str(conformance.__file__)).read_text("utf-8")))


def named_by_tests() -> dict[str, list[str]]:
    """Return for each id the test functions that name it, as ``file::function``."""
    found: dict[str, list[str]] = {}
    for path in sorted((TOP / "tests").rglob("test_*.py")):
        text = path.read_text("utf-8")
        if "tck-id-" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for one in set(_ID.findall(ast.get_source_segment(text, node) or "")):
                    found.setdefault(one, []).append(f"{path.relative_to(TOP)}::{node.name}")
    return found


def page() -> str:
    """Return the page; ids that nothing meets are marked with ``MISSING``."""
    observed, named = rules(), named_by_tests()
    broken_by: dict[str, str] = {}
    for mutant in MUTANTS:
        for one in mutant.ids:
            broken_by.setdefault(one, mutant.name)
    lines = []
    count = {"observer": 0, "test": 0, "n/a": 0}
    for one in ids():
        if one in observed:
            how, shown = "observer", broken_by.get(one, "MISSING")
        elif one in named:
            how, shown = "test", "<br>".join(f"`{test}`" for test in sorted(named[one]))
        elif one in NOT_APPLICABLE:
            how, shown = "n/a", NOT_APPLICABLE[one]
        else:
            how, shown = "test", "MISSING"
        count[how] += 1
        lines.append(f"| {one.removeprefix('tck-id-')} | {how} | {shown} |\n")
    head = _HEAD.format(total=len(lines), observed=count["observer"], tested=count["test"], absent=count["n/a"])
    return head + "".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
