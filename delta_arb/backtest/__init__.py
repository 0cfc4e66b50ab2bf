"""The machine replayed over a tape, once or for thousands of rules, and what its trades were worth.

`delta_arb.backtest` is this room and a public function: calling the room calls `delta_arb.api.backtest`, so that the name
means the same whichever was imported first.
"""

import sys
from types import ModuleType


class _Callable(ModuleType):
    def __call__(self, tape, rule, market=None):
        """Replay thresholds of your own over a tape; see `delta_arb.api.backtest`."""
        from importlib import import_module

        return import_module("delta_arb.api").backtest(tape, rule, market)


sys.modules[__name__].__class__ = _Callable
