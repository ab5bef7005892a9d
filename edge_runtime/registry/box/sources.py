"""The places that a box asks for a release, in order of preference."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edge_runtime.registry.carriers.access import for_mirror
from edge_runtime.registry.carriers.open import open_carrier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_runtime.registry.box.order import Order
    from edge_runtime.registry.carriers.carrier import Carrier


def openers(order: Order) -> Iterator[Callable[[], Carrier]]:
    """Yield what opens each place, in order of preference."""
    for url in order.urls:
        yield partial(open_carrier, url, for_mirror(order.access, order.urls[0], url))
