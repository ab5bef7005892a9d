"""The hand-shake of a programmable controller with one inspection: ready, trigger, busy, result ready, acknowledge."""
