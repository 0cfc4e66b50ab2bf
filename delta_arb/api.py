"""The public functions: `import delta_arb as da`, then `da.read_quotes`, `da.backtest` and the others.

    tape    = da.read_quotes(spot, perp, funding="none", contract_size=10)
    found   = da.mean_reversion(tape)
    result  = da.backtest(tape, da.Rule(entry_bps=30, exit_bps=-20), da.Market(fee_bps=5, latency_s=0.1))
    tried   = da.sweep(tape, market, entries, exits)
    verdict = da.judge(tape, da.choose(tape, market))
    da.save_params(verdict, "latest.json")

They call what the notebooks call, and give back the same results with a face (`report.results`).
"""

from collections.abc import Sequence
from pathlib import Path

from delta_arb import params
from delta_arb.errors import ParamsError
from delta_arb.market import DAY_S
from delta_arb.object_store import is_url
from delta_arb.optimize import roles, search
from delta_arb.optimize.directions import asked
from delta_arb.optimize.study import Constraints, Market
from delta_arb.params import Params, Rule
from delta_arb.publishing import newest, pointer, publish_at
from delta_arb.quotes.tape import Tape
from delta_arb.report import results
from delta_arb.report.results import BacktestResult, ChoiceResult, Explorer, Reversion, SweepFrame, VerdictResult
from delta_arb.stats import mean_reversion as statistics
from delta_arb.stats.basis import basis_of


def mean_reversion(tape: Tape, market: Market | None = None, *, max_quote_age_s: float = 1.0) -> Reversion:
    """Does the basis of a tape come back, and how fast: half-life with its interval, noise, tests.

    Args:
        tape: the quotes of both legs.
        market: whose fees the edges are compared with; with none given, the defaults of `Market`.
        max_quote_age_s: edges count while both books are at most so old, s.

    Returns:
        Every answer, or the reason for which the recording gives none. Source: `docs/statistics.md`.
    """
    basis = basis_of(tape, _market(market, tape).fees_bps, max_quote_age_s)
    return Reversion(tape, basis, statistics.mean_reversion(basis))


def backtest(tape: Tape, rule: Rule, market: Market | None = None) -> BacktestResult:
    """Replay thresholds of your own over a tape: the machine that the live runner drives, filled by the fill rule.

    Args:
        tape: the quotes of both legs.
        rule: thresholds in bps, size and patience; `da.Rule(entry_bps=30, exit_bps=-20)`.
        market: fees, latencies, wallets; what it leaves open comes with the quotes, and the result's repr says all of it.

    Returns:
        Trades, money over time and figures. A position open at the end is closed on its exit side, and counted.

    Raises:
        ParamsError: no thresholds, a clip below the smallest order, or a deadline within latency and quote age.
        DataError: a funding stamp is missing inside a hold.
    """
    if not isinstance(rule, Rule) or not rule.levels:
        raise ParamsError(f"a backtest needs thresholds: da.Rule(entry_bps=..., exit_bps=...), was {rule!r}")
    bound = _market(market, tape, rule)
    return BacktestResult(tape, bound, bound.settings)


def explore(tape: Tape, rule: Rule, market: Market | None = None) -> Explorer:
    """Sliders for thresholds, longest hold, fees and latency, and the replay of what they say; shown in JupyterLab.

    Args:
        tape, rule, market: see `backtest`; the sliders begin there.

    Returns:
        The sliders; its `rule`, `market` and `result` are those on show, for the next cell.

    Raises:
        ParamsError: see `backtest`; or a rule of reverse pairs alone.
    """
    if not isinstance(rule, Rule) or not rule.levels.get(""):
        raise ParamsError(f"the sliders begin at thresholds: da.Rule(entry_bps=..., exit_bps=...), was {rule!r}")
    return Explorer(tape, _market(market, tape, rule))


def sweep(
    tape: Tape, market: Market | None, entries: Sequence[float], exits: Sequence[float], rule: Rule | None = None
) -> SweepFrame:
    """Replay every pair of an entry and an exit below it.

    Args:
        tape: the quotes of both legs.
        market: see `backtest`.
        entries, exits: thresholds in bps, any shape (n,) and (m,).
        rule: size, patience and conduct of all of them; its own thresholds do not count.

    Returns:
        A pandas frame, one row for each pair: thresholds and figures (money in USDT, rates as fractions); `.plot()`
        draws the map. They are in sample: the best cell of a map is the luckiest one (`choose` and `judge` pay for that).
    """
    bound = _market(market, tape, _without_thresholds(rule))
    sets = results.thresholds_of(entries, exits, bound.settings)
    return results.sweep_frame(search.sweep(tape, bound, sets).to_frame(), tape)


def choose(
    tape: Tape, market: Market | None = None, rule: Rule | None = None, demands: Constraints | None = None
) -> ChoiceResult:
    """Pick thresholds on the first two thirds of a look-back, look at them on the last third.

    Args:
        tape: the quotes of both legs.
        market: see `backtest`.
        rule: size, patience and conduct; its own thresholds do not count.
        demands: what is asked of them (`da.Constraints`): hit rate, trades a day, drawdown, longest hold, look-back in hours.

    Raises:
        DataError: too few events to choose from.
    """
    _require(demands, (Constraints, type(None)), "demands are da.Constraints")
    bound = _market(market, tape, _without_thresholds(rule))
    return ChoiceResult(tape, search.choose(tape, bound, demands or Constraints()))


def judge(tape: Tape, choice: ChoiceResult, *, upstream: float = 1.0) -> VerdictResult:
    """Walk the choosing forward over the whole tape, count what was tried, pass the gates or refuse.

    Args:
        tape: the quotes that the choice was made on.
        choice: what `choose` gave.
        upstream: how many pairs, modes or markets were looked at before this one was picked (this one included).

    Returns:
        Trade, or do not trade, with the reason. Source: `docs/statistics.md`.
    """
    _require(choice, ChoiceResult, "the choice is what da.choose gives")
    direct = roles.judged(tape, choice.choice, upstream)
    return VerdictResult(tape, asked(tape, direct, upstream).verdict)


def save_params(found: VerdictResult | Params, path: str | Path, *, valid_for_s: float = DAY_S) -> Path | str:
    """Write a verdict as the parameter file that a runner reads, atomically; "do not trade" is written like any other.

    Args:
        found: what `judge` gave, or a parameter file that was loaded.
        path: the file; or a URL such as s3://bucket/params, where the pair's pointer is set unless a later export is there.
        valid_for_s: how long a runner may trade it, from now, s.

    Returns:
        The file, or the pointer's URL, for `load_params`.
    """
    _require(found, (VerdictResult, Params), "what is saved is what da.judge or da.load_params gives")
    chosen = found if isinstance(found, Params) else found.params(valid_for_s)
    if not is_url(path):
        return params.save(chosen, Path(path))
    publish_at(chosen, str(path))
    return pointer(str(path), chosen.name)


def load_params(path: str | Path) -> Params:
    """Read and verify a parameter file, or the one that a pointer behind a URL names.

    Raises:
        ParamsError: damaged, edited, of another schema, or out of bounds; it says which, and what to do.
    """
    return newest(path)


def _market(market: Market | None, tape: Tape, rule: Rule | None = None) -> Market:
    _require(tape, Tape, "the quotes are what da.read_quotes gives")
    _require(market, (Market, type(None)), "the market is a da.Market")
    return (market or Market()).on(tape, rule)


def _require(value, kind: type | tuple[type, ...], what: str) -> None:
    if not isinstance(value, kind):
        raise ParamsError(f"{what}, was {type(value).__name__}")


def _without_thresholds(rule: Rule | None) -> Rule | None:
    _require(rule, (Rule, type(None)), "size, patience and conduct come as a da.Rule")
    none = dict.fromkeys(("entry_bps", "exit_bps", "reverse_entry_bps", "reverse_exit_bps"))
    return rule and rule.replace(**none)
