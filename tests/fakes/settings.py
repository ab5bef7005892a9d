"""The smallest configuration that can be planned: one camera, one model, one inspection named ``top``."""

from __future__ import annotations

from typing import Any

from edge_runtime.config.schema import Settings


def make_settings(**more: Any) -> Settings:
    return Settings.model_validate(
        {
            "version": 1,
            "cameras": {"top": {"source": "sim:conveyor"}},
            "models": {"defects": {"path": "/models/defects"}},
            "inspections": {"top": {"camera": "top", "model": "defects"}},
        }
        | more
    )
