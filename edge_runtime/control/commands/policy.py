"""Who may ask what, and how often: pure; the clock is passed in.

An entry of ``allow`` under a principal's name replaces that of ``*``. The name of a key counts only for who has proven
it: an unsigned caller that calls itself like a key is a ``*``. Names that were claimed, proven, or are those of doors
inside the box have rates apart: who only claims a name cannot use up what the real one has.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from edge_runtime.control.commands.refusal import RefusedError
from edge_runtime.control.commands.verbs import VERBS
from edge_runtime.core.command import Status

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

EVERYBODY = "*"
BURST_S = 2.0  # of the rate may come at once
INLET_TIMES = 2.0  # the rate of all callers: what comes faster is not even looked at
HASTY_ANSWERS_PER_S = 50.0  # to callers that come too fast; the queue for the broker holds 256 of all
PRINCIPALS_MAX = 256  # whose rate is remembered; names are claimed, so they could be endless
_S = 1e9


class Bucket:
    """Tokens that come at a rate and are kept for ``burst_s`` of it, at least one."""

    def __init__(self, rate_per_s: float, now_ns: int, *, burst_s: float = BURST_S) -> None:
        """Start full."""
        self._rate = rate_per_s
        self._most = max(1.0, rate_per_s * burst_s)
        self._tokens = self._most
        self._at_ns = now_ns

    def take(self, now_ns: int) -> bool:
        """Take one token at ``now_ns`` (monotonic); False when there is none."""
        self._tokens = min(self._most, self._tokens + max(0, now_ns - self._at_ns) / _S * self._rate)
        self._at_ns = now_ns
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Policy:
    """See the module docstring. One thread at a time."""

    def __init__(
        self,
        allow: Mapping[str, Collection[str]],
        signed: Collection[str],
        keys: Collection[str],
        *,
        rate_per_s: float,
        rate_total_per_s: float,
        now_ns: int,
    ) -> None:
        """Allow what ``allow`` says by principal; ``signed`` verbs need a signature beside those that always do."""
        self._allow = allow
        self._signed = frozenset(signed) | {name for name, verb in VERBS.items() if verb.signed}
        self._keys = frozenset(keys)
        self._rate_per_s = rate_per_s
        self._inlet = Bucket(INLET_TIMES * rate_total_per_s, now_ns)
        self._hasty = Bucket(HASTY_ANSWERS_PER_S, now_ns)
        self._total = Bucket(rate_total_per_s, now_ns)
        self._inner = Bucket(rate_total_per_s, now_ns)
        self._buckets: OrderedDict[tuple[str, bool, bool], Bucket] = OrderedDict()

    def needs_signature(self, verb: str) -> bool:
        """Whether ``verb`` is refused without one."""
        return verb in self._signed

    def is_flood(self, now_ns: int) -> bool:
        """Whether a message comes so much too fast that nobody should look at it."""
        return not self._inlet.take(now_ns)

    def has_time(self, now_ns: int) -> bool:
        """Whether a caller that comes too fast is told so."""
        return self._hasty.take(now_ns)

    def count(self, now_ns: int, *, inner: bool = False) -> None:
        """Count a message, whatever it is; those of ``inner`` doors apart, so that a flood from outside is not theirs.

        Raises:
            RefusedError: 429: too many come in all.
        """
        if not (self._inner if inner else self._total).take(now_ns):
            raise RefusedError(Status.TOO_MANY, "rate", "too many commands in all; ask again in a second")

    def admit(self, verb: str, principal: str, now_ns: int, *, proven: bool, inner: bool = False) -> None:
        """Let ``principal`` ask for ``verb``.

        Raises:
            RefusedError: 403: not allowed; 429: too often.
        """
        named = principal in self._allow and (proven or principal not in self._keys)
        allowed = self._allow.get(principal if named else EVERYBODY, ())
        if verb not in allowed:
            who = principal if proven else f"{principal} (claimed)"
            raise RefusedError(Status.FORBIDDEN, "not_allowed", f"{who} may not ask for {verb} on this box")
        key = (principal, proven, inner)
        bucket = self._buckets.pop(key, None) or Bucket(self._rate_per_s, now_ns)
        self._buckets[key] = bucket
        if len(self._buckets) > PRINCIPALS_MAX:
            claimed = (name for name in self._buckets if not name[1] and not name[2])
            del self._buckets[next(claimed, next(iter(self._buckets)))]
        if not bucket.take(now_ns):
            raise RefusedError(Status.TOO_MANY, "rate", f"too many commands of {principal}; ask again in a second")
