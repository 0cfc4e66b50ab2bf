"""Thresholds and costs under sliders, where a kernel runs: move one, and the replay below it is that of what they say."""

from dataclasses import replace

import numpy as np

from delta_arb.errors import DeltaArbError
from delta_arb.optimize.study import Market
from delta_arb.params import Rule
from delta_arb.quotes.tape import Tape
from delta_arb.report.results import BacktestResult
from delta_arb.stats.basis import basis_of


class Explorer:
    """Sliders and the replay that they ask for; `rule`, `market` and `result` are what is shown, for a cell below.

    `result` is None where the sliders ask for what cannot be replayed; `message` says why.
    """

    def __init__(self, tape: Tape, market: Market) -> None:
        self.tape, self._given = tape, market
        self.result: BacktestResult | None = None
        self.message = ""
        rule, fees, late = market.settings, (market.spot.taker_fee_bps, market.perp.taker_fee_bps), market.latency
        entry, exit_ = rule.levels[""]
        seen = basis_of(tape, market.fees_bps, rule.max_quote_age_s)
        self.sliders = {
            "entry_bps": _slider("entry, bps", entry, *_span(seen.entry_bps[seen.fresh], entry)),
            "exit_bps": _slider("exit, bps", exit_, *_span(seen.exit_bps[seen.fresh], exit_)),
            "max_hold_h": _slider(
                "longest hold, h", rule.max_hold_s / 3600, 0.1, max(48.0, 2 * rule.max_hold_s / 3600)
            ),
            "spot_fee_bps": _slider("spot fee, bps", fees[0], min(-2.0, fees[0]), max(20.0, 2 * fees[0])),
            "perp_fee_bps": _slider("perp fee, bps", fees[1], min(-2.0, fees[1]), max(20.0, 2 * fees[1])),
            "latency_s": _slider("latency, s", late.longest_s, 0.0, max(2.0, 2 * late.longest_s), 0.01),
        }
        self._start = self._values()
        for slider in self.sliders.values():
            slider.observe(lambda _: self._replay(), "value")
        self._widget = self._built()
        self._replay()

    @property
    def market(self) -> Market:
        """Fees and latency of the sliders, where they were moved; else those that were given."""
        at, was, market = self._values(), self._start, self._given
        if (fees := (at["spot_fee_bps"], at["perp_fee_bps"])) != (was["spot_fee_bps"], was["perp_fee_bps"]):
            market = market.with_fees(*fees)
        if (late_s := at["latency_s"]) != was["latency_s"]:
            market = market.with_latency(late_s, late_s)
        return replace(market, settings=market.settings.replace(**self._levels()))

    @property
    def rule(self) -> Rule:
        """The rule of the sliders, for `da.backtest`."""
        return self.market.settings

    def _levels(self) -> dict[str, float]:
        at, was = self._values(), self._start
        hold_s = self._given.settings.max_hold_s if at["max_hold_h"] == was["max_hold_h"] else at["max_hold_h"] * 3600
        return {"entry_bps": at["entry_bps"], "exit_bps": at["exit_bps"], "max_hold_s": hold_s}

    def _values(self) -> dict[str, float]:
        return {name: slider.value for name, slider in self.sliders.items()}

    def _built(self):
        from ipywidgets import HTML, Image, VBox

        self._table, self._picture = HTML(), Image(format="png", width=960)
        return VBox([*self.sliders.values(), self._picture, self._table])

    def _replay(self) -> None:
        try:
            market = self.market
            self.result, self.message = BacktestResult(self.tape, market, market.settings), ""
        except DeltaArbError as error:
            self.result, self.message = None, str(error)
            self._table.value, self._picture.value = f"<b>{self.message}</b>", b""
            return
        self._table.value = self.result.performance.table()._repr_html_()
        self._picture.value = self.result.plot().png()

    def __repr__(self) -> str:
        return f"Explorer({self.result or self.message}; sliders where a kernel runs)"

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return self._widget._repr_mimebundle_() | {"text/plain": repr(self)}


def _slider(name: str, value: float, low: float, high: float, step: float = 0.1):
    """A slider that asks for a replay once it is let go."""
    from ipywidgets import FloatSlider, Layout

    wide = {"style": {"description_width": "110px"}, "layout": Layout(width="620px")}
    return FloatSlider(value, min=low, max=high, step=step, description=name, continuous_update=False, **wide)


def _span(offered: np.ndarray, level: float) -> tuple[float, float]:
    """What the quotes offered, whole bps, and the level itself."""
    values = np.append(offered[np.isfinite(offered)], level)
    return float(np.floor(values.min())), float(np.ceil(values.max()))
