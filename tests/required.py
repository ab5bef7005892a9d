"""Real parts that a test needs: missing is a named skip on a developer's machine and a failure in CI."""

from __future__ import annotations

import os

import pytest


def needs(found: object, what: str) -> None:
    """Skip the test with the name of the missing part; fail it when ``CI=true``."""
    if found:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"missing in CI: {what}")
    pytest.skip(f"missing: {what}")
