"""Research and trading of a spot / perpetual basis: from quotes in JupyterLab to an unattended runner.

    import delta_arb as da
    tape = da.read_quotes("spot.parquet", "perp.parquet", funding="none", contract_size=10)
    da.backtest(tape, da.Rule(entry_bps=30, exit_bps=-20), da.Market(fee_bps=5, latency_s=0.1))

Every name is loaded when it is first used, so that importing this loads nothing.
"""

from importlib import import_module

__version__ = "0.1.0"

import_module("delta_arb.interrupt").take()  # nothing but in a command, whose modules Ctrl-C could cut off from here on

# Where each public name is, and what it is called there.
_PUBLIC = {
    "Constraints": "optimize.study:Constraints", "DeltaArbError": "errors:DeltaArbError", "Funds": "wallets:Funds",
    "Market": "optimize.study:Market", "Params": "params:Params", "Rebalancing": "wallets:Rebalancing",
    "Rule": "rule_params:Rule", "Tape": "quotes.tape:Tape", "VenueTerms": "venue_terms:VenueTerms",
    "choose": "api:choose", "explore": "api:explore", "judge": "api:judge", "load_params": "api:load_params",
    "mean_reversion": "api:mean_reversion",
    "read_quotes": "quotes.recording:read_quotes", "save_params": "api:save_params", "sweep": "api:sweep",
}  # fmt: skip

__all__ = [
    "Constraints", "DeltaArbError", "Funds", "Market", "Params", "Rebalancing", "Rule", "Tape", "VenueTerms", "backtest",
    "choose", "explore", "judge", "load_params", "mean_reversion", "read_quotes", "save_params", "sweep",
]  # fmt: skip


def __getattr__(name: str):
    if name == "backtest":  # the room of that name is the function, too (see there)
        return import_module("delta_arb.backtest")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'delta_arb' has no attribute {name!r}")
    module, _, its_name = _PUBLIC[name].partition(":")
    return getattr(import_module(f"delta_arb.{module}"), its_name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
