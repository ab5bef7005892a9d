"""The `steps` of a manifest whose task is `chain`: models of which the first finds and the others look closer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_runtime.core.jsonfields import Section

STEPS_MIN: Final = 2
STEPS_LIMIT: Final = 3
CROPS: Final = ("polygon", "box")
_PATH = re.compile(r"(?!.*(^|/)\.\.?(/|$))[0-9A-Za-z_.-][0-9A-Za-z_./-]{0,199}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Step:
    """One model of a chain and what it is shown.

    Attributes:
        package: relative path inside the chain's directory: a package directory, or a bare model file.
        digest: identity of that model, as results would state it: the chain's own digest pins it by this.
        labels: which findings of the first step are looked at; ``None`` = all of them, the others are left as they are.
        crop: `polygon` cuts along the four corners of a finding that has them and turns it upright; `box` cuts its box.
        pad: the crop is grown by this fraction of its width and height on each side, 0..1.
    """

    package: str
    digest: str
    labels: tuple[str, ...] | None = None
    crop: str = CROPS[0]
    pad: float = 0.0


def parse_steps(top: Section) -> tuple[Step, ...]:
    """Return the steps of a chain, problems noted in ``top``."""
    steps: list[Step] = []
    for section in top.sections("steps"):
        package = section.text("package", required=True, pattern=_PATH) or ""
        digest = section.text("digest", required=True, pattern=_DIGEST) or ""
        labels, crop, pad = section.texts("labels"), section.choice("crop", CROPS), section.number("pad", 0, 1)
        if not steps:
            for key in ("labels", "crop", "pad"):
                if key in section.data:
                    section.wrong(key, "nothing: the first step looks at the whole picture", section.data[key])
        steps.append(Step(package, digest, labels, crop or CROPS[0], pad or 0.0))
        section.close(also=("description",))
    if not STEPS_MIN <= len(steps) <= STEPS_LIMIT:
        top.wrong("steps", f"{STEPS_MIN} or {STEPS_LIMIT} steps", top.data.get("steps"))
    return tuple(steps)
