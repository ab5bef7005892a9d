"""What the gates say about a candidate, second by second: what the line counted and what its process takes, weighed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_runtime.control.deployment.deployment import State, Verdict
from edge_runtime.control.deployment.gates import of_judging, of_shadow
from edge_runtime.core.result import Evaluation
from edge_runtime.pipeline.judged import together
from edge_runtime.system.footprint import own_mb

if TYPE_CHECKING:
    from edge_runtime.app.assembly import LineService
    from edge_runtime.control.deployment.deployment import Deployment
    from edge_runtime.pipeline.judged import Disagreement
    from edge_runtime.system.clock import Clock

MEMORY_MAX: Final = 2000  # samples; beyond, every second one is forgotten
_NS: Final = 1e9
_WEIGHED: Final = frozenset({State.SHADOW, State.CANARY, State.PROBATION})


class SlotSampler:
    """Of one slot. One thread."""

    def __init__(self, slot: str, clock: Clock) -> None:
        """Nothing was judged yet."""
        self._slot = slot
        self._clock = clock
        self._key: tuple[object, ...] = ()  # what is being weighed
        self._began_ns = 0
        self._memory_mb: list[tuple[float, float]] = []
        self._evidence: tuple[str, list[dict[str, object]]] = ("", [])

    def evidence(self, deployment: str) -> list[dict[str, object]]:
        """Return frames that the candidate of a deployment judged otherwise in shadow, the first ones."""
        found_of, found = self._evidence
        return found if found_of == deployment else []

    def verdict(self, line: LineService, one: Deployment) -> Verdict | None:
        """Return what the gates say in the state of a deployment; ``None`` where nothing is weighed. Once a second."""
        judging = line.judged(self._slot)
        if one.state not in _WEIGHED or not one.begun or judging is None:
            self._key = ()
            return None
        if one.state is State.SHADOW:
            self._evidence = one.id, [_as_in_results(found) for found in judging.compared.evidence]
            return of_shadow(judging.compared, one.policy.gates)
        self._measure(line, one)
        gates = one.policy.gates
        is_canary = one.state is State.CANARY
        names = [name for name in judging.new if not is_canary or name in one.inspections]
        return of_judging(
            together([judging.old[name] for name in names if name in judging.old]),
            together([judging.new[name] for name in names]),
            gates,
            wanted=gates.canary_frames if is_canary else gates.probation_frames,
            memory_mb=self._memory_mb,
        )

    def _measure(self, line: LineService, one: Deployment) -> None:
        standby = line.line.picture.standbys.get(self._slot)
        pid = None if standby is None else standby.pid
        now_ns, key = self._clock.mono_ns(), (one.id, one.state, pid)
        if key != self._key:
            self._key, self._began_ns, self._memory_mb = key, now_ns, []
        found = None if pid is None else own_mb(pid)
        if found is not None:
            self._memory_mb.append(((now_ns - self._began_ns) / _NS, found))
            if len(self._memory_mb) > MEMORY_MAX:
                del self._memory_mb[1::2]


def _as_in_results(one: Disagreement) -> dict[str, object]:
    """Return a disagreement in the words of results, so that its frame is found among them."""
    old, new = (Evaluation[name].text for name in (one.old, one.new))
    scores = {"oldScore": one.old_score, "newScore": one.new_score}
    return {"inspection": one.inspection, "frameId": one.frame_id, "old": old, "new": new, **scores}
