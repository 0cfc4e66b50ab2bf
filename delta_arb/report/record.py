"""The record of a run: its flat figures, which the index of all runs shows and other programs may read."""

import json
from pathlib import Path

from delta_arb.market import utc
from delta_arb.optimize.study import Thresholds
from delta_arb.params import write_atomic
from delta_arb.report.tearsheet import JUDGED, TearSheet, net_interval
from delta_arb.strategy.state import DIRECT, REVERSE
from delta_arb.tables import Table, number

FIGURES = (
    "net_usdt_day", "return_day", "mean_net_bps", "trades", "trades_day", "hit_rate", "win_rate", "drawdown",
    "median_hold_s", "fees_usdt", "funding_usdt",
)  # fmt: skip


def metrics(sheet: TearSheet, inputs) -> dict:
    """The run in flat figures: those of the judged part under their own names, the fit's with a prefix.

    Where no thresholds were examined, nothing was replayed and there are no figures: they are null.
    """
    t, net = sheet.thresholds, net_interval(sheet.parts[JUDGED])
    return {
        "pair": inputs.name,
        "trade": sheet.candidate.trade,
        "reason": sheet.candidate.reason,
        "synthetic": inputs.synthetic,
        "candles": inputs.candles,
        "start": _utc(sheet.tape.start_ns),
        "end": _utc(sheet.tape.end_ns),
        "judged_from": _utc(sheet.parts[JUDGED].tape.start_ns),
        **_levels(t),
        "max_hold_s": t.max_hold_s if t else None,
        **{name: getattr(sheet.judged, name) if t else None for name in FIGURES},
        **{f"fit_{name}": getattr(sheet.fitted, name) if t else None for name in FIGURES},
        "net_low_usdt_day": net.low if net else None,
        "net_high_usdt_day": net.high if net else None,
        "whole_net_usdt": sheet.result.net_usdt,
        "whole_trades": len(sheet.trades),
        "capital_usdt": sheet.judged.capital_usdt,
        "fees_bps": sheet.market.fees_bps,
    }


def _levels(t: Thresholds | None) -> dict[str, float | None]:
    """Entry and exit of each direction, null where it is not traded."""
    found = {way: t.levels(side) if t else None for way, side in (("", DIRECT), ("reverse_", REVERSE))}
    return {
        f"{way}{name}_bps": at and getattr(at, f"{name}_bps") for way, at in found.items() for name in ("entry", "exit")
    }


def record(sheet: TearSheet, inputs, run_folder: str) -> Table:
    """The figures of the metrics; all of them are written to metrics.json in the run's folder, where there is one."""
    found = metrics(sheet, inputs)
    if run_folder:
        write_atomic(Path(run_folder) / "metrics.json", json.dumps(found, indent=2, allow_nan=False) + "\n")
    rows = [(name, _face(found[name]), _face(found[f"fit_{name}"])) for name in FIGURES]
    others = [name for name in found if name.removeprefix("fit_") not in FIGURES]
    return Table.of("metrics.json", ("figure", "judged", "fit"), rows, f"Beside them: {', '.join(others)}.")


def _face(value: float | None) -> str:
    return f"{value}" if isinstance(value, int) else number(value, 4)


def _utc(ts_ns: int) -> str:
    return utc(ts_ns)[:19].replace(" ", "T") + "Z"
