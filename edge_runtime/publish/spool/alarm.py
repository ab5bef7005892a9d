"""Says that the spool fills up before it gives anything up, once, and that it is over: pure."""

from __future__ import annotations

from edge_runtime.core.result import Event

HIGH, LOW = 0.8, 0.6  # of the limit


class Alarm:
    """One thread."""

    def __init__(self, max_bytes: int) -> None:
        """Watch what is owed against ``max_bytes``."""
        self._max_bytes = max_bytes
        self._high = False

    def check(self, owed_bytes: int, depth: int, utc_ns: int) -> list[Event]:
        """Return an event when a mark was passed: upwards above ``HIGH``, downwards below ``LOW``."""
        share = owed_bytes / self._max_bytes
        if self._high == (share > (LOW if self._high else HIGH)):
            return []
        self._high = not self._high
        fields: dict[str, object] = {"bytes": owed_bytes, "maxBytes": self._max_bytes, "depth": depth}
        kind = "spool.high" if self._high else "spool.low"
        what = "results will be given up when it is full" if self._high else "nothing will be given up"
        return [Event("system", kind, f"the spool is {share:.0%} full: {what}", utc_ns, fields)]
