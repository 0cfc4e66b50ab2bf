"""What the public functions of `delta_arb` give back: a replay, a map of thresholds, the basis and how it comes back.

Each has a short repr, shows itself in a notebook, draws itself (`plot`), and hands out pandas tables with a UTC time
index and units in the names of the columns. The figures and tables are those of the notebooks.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from delta_arb.backtest.performance import Performance
from delta_arb.backtest.replay import Backtest, run
from delta_arb.errors import DeltaArbError, ParamsError
from delta_arb.market import DAY_S
from delta_arb.optimize.export import candidate
from delta_arb.optimize.search import Choice
from delta_arb.optimize.study import Market, Thresholds
from delta_arb.optimize.verdict import Verdict
from delta_arb.params import Params, Rule
from delta_arb.quotes.recording import PAIR, RecordedTape
from delta_arb.quotes.tape import Tape
from delta_arb.report import choice_tables, plots, plots_choice, trade_tables
from delta_arb.report.figures import Chart, Picture
from delta_arb.report.tearsheet import WHOLE, Part, TearSheet
from delta_arb.stats.basis import Basis, basis_of
from delta_arb.stats.mean_reversion import MeanReversion
from delta_arb.strategy.rule import make_rule
from delta_arb.strategy.state import DIRECT, REVERSE
from delta_arb.tables import Table

SIDES = {DIRECT: "direct", REVERSE: "reverse"}
PRICES = ("spot_in", "perp_in", "spot_out", "perp_out")


class Named(NamedTuple):
    """The names and marks of a tape that was not read from files."""

    name: str = PAIR
    mark: str = ""
    synthetic: bool = False
    spot_venue: str = "spot"
    perp_venue: str = "perp"


def named(tape: Tape):
    """What titles and legends say of a tape: its inputs where it was read."""
    return tape.inputs if isinstance(tape, RecordedTape) and tape.inputs else Named()


class Faces(tuple):
    """Tables one below the other."""

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self))

    def _repr_html_(self) -> str:
        return "".join(face._repr_html_() for face in self)


class BacktestResult:
    """A rule replayed over a tape: its trades, its money over time, its figures.

    `tape`, `market` and `rule` are what was replayed (the market with everything that was defaulted to), `replay` is the
    machine's own record: orders, fills, closed pairs, funding, wallets.
    """

    def __init__(self, tape: Tape, market: Market, rule: Rule) -> None:
        self.tape, self.market, self.rule = tape, market, rule
        compiled = make_rule(rule, market.spot, market.perp)
        self.replay: Backtest = run(tape, compiled, market.latency, market.payments, funds=market.funds)

    @cached_property
    def sheet(self) -> TearSheet:
        """The replay as the tables and figures of the report take it, in one part."""
        whole = Part.of(WHOLE, self.tape, self.replay)
        levels = self.rule.levels.get("") or self.rule.levels.get("reverse_") or (math.inf, -math.inf)
        at = Thresholds(*levels, self.rule.max_hold_s)
        return TearSheet(None, at, self.market, self.tape, self.replay, whole.curve, {WHOLE: whole}, "")

    @property
    def performance(self) -> Performance:
        """Headline figures: money in USDT, rates as fractions (see `Performance`)."""
        return self.sheet.last.performance

    @property
    def trades(self) -> pd.DataFrame:
        """One row per closed pair, indexed by its opening (UTC).

        Columns: closed (UTC), side, reason, held_s, qty_coins, notional_usdt, the four mean prices (USDT per coin), and
        the money in USDT: net = spot + perp - fees + funding + residual.
        """
        frame = self.replay.to_frame()
        opened, closed = (pd.to_datetime(frame[f"{end}_ns"], utc=True) for end in ("opened", "closed"))
        frame["held_s"] = [t.held_s for t in self.replay.trades]
        frame["side"] = frame["side"].map(SIDES)
        units = {name: f"{name}_usdt" for name in PRICES} | {"qty": "qty_coins"}
        frame = frame.rename(columns=units).drop(columns=["opened_ns", "closed_ns"])
        frame.insert(0, "closed", closed)
        return frame.set_index(pd.DatetimeIndex(opened, name="opened"))

    @property
    def equity(self) -> pd.DataFrame:
        """Marked money at every event, USDT since the start, indexed by time (UTC): net and its parts.

        Marked at the side at which both legs could be closed; fees as they are paid, positive when they cost.
        """
        curve = self.sheet.curve
        parts = {
            f"{name}_usdt": getattr(curve, name) for name in ("net", "spot", "perp", "fees", "funding", "residual")
        }
        return pd.DataFrame(parts, index=pd.to_datetime(curve.ts_ns, utc=True).rename("time"))

    def tear_sheet(self) -> Faces:
        """Headline figures, where the money came from, how pairs ended, the latest trades, the days."""
        tables = (trade_tables.money, trade_tables.endings, trade_tables.trades, trade_tables.days)
        return Faces((self.performance.table(), *(table(self.sheet) for table in tables)))

    def plot(self) -> Picture:
        """Marked equity and its fall from the peak."""
        return plots.equity(self.sheet, named(self.tape))

    def to_csv(self, path: str | Path) -> Path:
        """Write the trades, one row each; returns the path."""
        self.trades.to_csv(path)
        return Path(path)

    def __repr__(self) -> str:
        return f"{named(self.tape).name}, {self.rule!r}: {self.replay!r}"

    def _repr_html_(self) -> str:
        """The tear-sheet, and below it everything that was assumed."""
        return f"{self.tear_sheet()._repr_html_()}<p>{self.market!r}</p>"


class SweepFrame(pd.DataFrame):
    """One row for each pair of thresholds: entry_bps, exit_bps, max_hold_s and the fields of `Performance`."""

    _metadata = ("title",)

    @property
    def _constructor(self):
        return SweepFrame

    def plot(self) -> Picture | Table:
        """Net USDT a day as a map over entry and exit, of the longest hold that earns most; in words where there is none."""
        return plots_choice.net_map(self, self.title)


def sweep_frame(rows: pd.DataFrame, tape: Tape) -> SweepFrame:
    """A sweep's rows as a frame that names its tape."""
    frame = SweepFrame(rows)
    frame.title = named(tape)
    return frame


class Reversion:
    """How the basis of a tape comes back; `basis` are its values, `found` every statistic or why it has no answer."""

    def __init__(self, tape: Tape, basis: Basis, found: MeanReversion) -> None:
        self.tape, self.basis, self.found, self._half_life = tape, basis, found, found.half_life.value

    @property
    def half_life_s(self) -> float | None:
        """Half-life in seconds; None where the recording gives none (`found.half_life.reason` says why)."""
        return self._half_life and self._half_life.half_life_s

    @property
    def interval_s(self) -> tuple[float, float] | None:
        """95 % interval of the half-life, seconds."""
        return self._half_life and (self._half_life.low_s, self._half_life.high_s)

    @property
    def noise_bps(self) -> float | None:
        """Standard deviation of the noise on top of the process, bps, which no trade earns."""
        return self._half_life and self._half_life.process.noise_sd

    @property
    def verdict(self) -> str:
        return self.found.verdict

    def plot(self) -> Picture:
        """The autocorrelation of the basis, and what the fitted process implies."""
        return plots.memory(self.found, named(self.tape))

    def plot_basis(self) -> Picture:
        """Both legs' prices, and the basis between them."""
        return plots.legs(self.basis, named(self.tape))

    def plot_edges(self) -> Chart | Picture:
        """What opening pays and what closing costs, fees added."""
        return plots.edges(self.basis, named(self.tape))

    def to_frame(self) -> pd.DataFrame:
        """The answers as texts, one row per question."""
        return self.found.table().to_frame()

    def to_csv(self, path: str | Path) -> Path:
        """Write them; returns the path."""
        self.to_frame().to_csv(path, index=False)
        return Path(path)

    def __repr__(self) -> str:
        return f"{named(self.tape).name}: {self.verdict}"

    def _repr_html_(self) -> str:
        return self.found._repr_html_()


class ChoiceResult:
    """The thresholds that a search picked on the first part of a look-back, and how they did on the last part."""

    def __init__(self, tape: Tape, choice: Choice) -> None:
        self.tape, self.choice = tape, choice

    @property
    def trade(self) -> bool:
        """Whether they met every demand on both parts; what is traded is decided by `da.judge`."""
        return self.choice.trade

    @property
    def reason(self) -> str:
        return self.choice.reason

    @property
    def rule(self) -> Rule | None:
        """The rule picked, for `da.backtest`; None where there is no edge."""
        return self.choice.best and self.choice.market.rule_params(self.choice.best)

    @property
    def sweep(self) -> SweepFrame:
        """Every set that was tried on the first part."""
        return sweep_frame(self.choice.sweep.to_frame(), self.tape)

    def plot(self) -> Picture:
        """Net a day over entry and exit on the first part, with the choice on it."""
        return plots.heat(self.choice, named(self.tape))

    def to_csv(self, path: str | Path) -> Path:
        """Write every set that was tried; returns the path."""
        self.sweep.to_csv(path, index=False)
        return Path(path)

    def __repr__(self) -> str:
        return f"{named(self.tape).name}: {self.choice!r}"

    def _repr_html_(self) -> str:
        tables = (choice_tables.in_and_out(self.choice), choice_tables.witnesses(self.choice))
        return f"<p><b>{self!r}</b></p>{Faces(tables)._repr_html_()}"


class VerdictResult:
    """What walk-forward and gates say of a choice: trade, or do not trade, with the reason."""

    def __init__(self, tape: Tape, verdict: Verdict) -> None:
        self.tape, self.verdict = tape, verdict

    @property
    def trade(self) -> bool:
        return self.verdict.trade

    @property
    def reason(self) -> str:
        return self.verdict.reason

    def params(self, valid_for_s: float = DAY_S) -> Params:
        """The parameter file's content, valid from now for `valid_for_s` seconds.

        Raises:
            ParamsError: the quotes were not read by `da.read_quotes`, so that no file can be named as evidence.
        """
        if not isinstance(self.tape, RecordedTape):
            raise ParamsError("a parameter file names the quotes it comes from; read them with da.read_quotes")
        return candidate(
            self.verdict,
            self.tape.inputs,
            self.tape,
            valid_for_s=valid_for_s,
            notebook="delta_arb.judge",
            run_id="by hand",
        )

    def plot(self) -> Picture:
        """What the walk-forward earned on quotes that it had not seen."""
        return plots.walk(self.verdict, named(self.tape))

    def to_csv(self, path: str | Path) -> Path:
        """Write the gates, one row each; returns the path."""
        choice_tables.gated(self.verdict).to_frame().to_csv(path, index=False)
        return Path(path)

    def __repr__(self) -> str:
        return f"{named(self.tape).name}: {self.verdict!r}"

    def _repr_html_(self) -> str:
        tables = (choice_tables.gated(self.verdict), choice_tables.walked(self.verdict))
        return f"<p><b>{self!r}</b></p>{Faces(tables)._repr_html_()}"


def thresholds_of(entries: Sequence[float], exits: Sequence[float], rule: Rule) -> list[Thresholds]:
    """Every pair of an entry and an exit below it, under one longest hold; bps."""
    for name, levels in (("entries", entries), ("exits", exits)):
        if not np.size(levels) or not np.isfinite(np.asarray(levels, float)).all():
            raise ParamsError(f"{name} are finite thresholds in bps, at least one, was {levels!r}")
    return [Thresholds(float(e), float(x), rule.max_hold_s, rule.filter) for e in entries for x in exits if x < e]


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
