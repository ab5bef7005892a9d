"""Does delivery's memory stay flat? Spool and publisher, 500 results and one reset connection at a time.

    python -m tests.soak.delivery_churn 200

200 times are 100 000 results and 200 reconnects. Prints what ``churn`` prints, as one JSON object.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from pathlib import Path

from tests.brokers import Broker
from tests.fakes.publishing import running_box
from tests.fault.cables import Cable
from tests.soak.churn import churn

AT_ONCE = 500  # results


def main(runs: int) -> dict[str, float]:
    """Return the trend per run."""
    logging.disable(logging.CRITICAL)
    with (
        tempfile.TemporaryDirectory(prefix="delivery-churn-") as place,
        Broker(persistent=False) as broker,
        Cable(broker.port) as cable,
        running_box(Path(place), cable.port) as box,
    ):

        def once() -> None:
            box.put(AT_ONCE)
            box.wait_acked(box.frame)
            cable.reset()
            box.wait_online()

        box.wait_online()
        found = churn(once, runs)
        return found | {"results": box.frame, "connects": box.publisher.stats.connects}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
