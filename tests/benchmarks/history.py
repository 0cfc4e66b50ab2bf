"""What the strategy did on crash days, and what carry was worth in the recorded months: tables from candles.

    python tests/benchmarks/history.py [--crash | --carry | --months] [--data ../shared/data]

Candles of two venues with stated half-spreads and taker fees of 5 bps per fill (see `delta_arb.quotes.candles`): decided at
the ends of bars, filled at the next open. A file that is not there is left out and named.

Crash days: the window is the day and the one after it; `chosen before` is what the walk-forward's choice makes of the
days before, `stated` a rule that always trades: enter 30 bps above the median cost of leaving of the days before,
leave at that median, hold at most a day. `holder` is who had entered a day before and sat it out: his worst mark.

Months: every calendar month of every pair with its funding, how long a hold must last with both legs taken and with spot resting
for up to four hours (makers pay nothing there), and what the walk-forward, which takes both legs, made of it.
"""

import argparse
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # this checkout, installed or not

from delta_arb.backtest.performance import equity
from delta_arb.errors import DeltaArbError
from delta_arb.market import NS, PERP, SPOT
from delta_arb.optimize import carry_walk_forward, carry_ways, study
from delta_arb.optimize.carry_search import break_even
from delta_arb.optimize.study import Constraints, Thresholds
from delta_arb.optimize.walk_forward import LookBack, propose
from delta_arb.params import Rule
from delta_arb.quotes.funding_file import payments
from delta_arb.quotes.inputs import NONE, Inputs
from delta_arb.quotes.tape import Tape
from delta_arb.stats.basis import basis_of
from delta_arb.tables import NOTHING, Table, number, share

DAY_NS = 86_400 * NS
CLIP_USDT = 250.0
ABOVE_BPS = 30.0  # of the stated rule: four fees and ten
YEAR, AUGUST = "2024-12-31_2026-02-19", "2024-08-01_2024-08-11"
GATE_YEAR = "2025-02-25_2026-02-25"
# Half-spreads of spot and perpetual, bps, and base units of a contract; small coins trade wider.
MAJOR, MINOR, SMALL = (0.5, 0.5), (1.0, 1.0), (5.0, 5.0)


def pair(data: Path, coin: str, spot: str, perp: str, funding: str, spreads, contract: float, **more) -> Inputs:
    """Candles of one pair; `spot`, `perp` and `funding` are the files' names from the venue on, less the coin."""
    files = {name: str(data / text.format(coin=f"{coin}_USDT")) for name, text in
             (("spot", spot), ("perp", perp), ("funding", funding)) if text != NONE}  # fmt: skip
    return Inputs(
        **{"funding": NONE} | files, pair=f"{coin}_USDT", contract_size=contract, spot_half_spread_bps=spreads[0],
        perp_half_spread_bps=spreads[1], spot_venue=spot.split("_")[0], perp_venue=perp.split("_")[0], **more,
    )  # fmt: skip


def names(perp: str, span: str, spot_span: str, bar: str = "5m") -> tuple[str, str]:
    """File names of spot candles at Binance and of a perpetual."""
    return (
        f"binance_spot_{{coin}}_candles_5m_{spot_span}.parquet",
        f"{perp}_futures_{{coin}}_candles_{bar}_{span}.parquet",
    )


def funding(perp: str, span: str) -> str:
    return f"{perp}_futures_{{coin}}_funding_{span}.parquet"


# --- crash days ------------------------------------------------------------------------------------------------------


def crashes(data: Path) -> list[tuple[str, Inputs]]:
    """Day and pair of every row."""
    spring = "2023-01-01_2023-09-22"
    rows = [("2023-03-24", ("BTC", *names("gateio", spring, spring), funding("gateio", spring), MAJOR, 1e-4))]
    for coin, spreads, contract in (
        ("BTC", MAJOR, 1e-4), ("SOL", MINOR, 1.0), ("DOGE", MINOR, 10.0), ("WIF", SMALL, 1.0), ("ORDI", SMALL, 0.1),
        ("PHB", SMALL, 1.0),
    ):  # fmt: skip
        paid = funding("gateio", AUGUST) if coin in ("BTC", "SOL", "DOGE", "ORDI") else NONE
        rows.append(("2024-08-05", (coin, *names("gateio", AUGUST, AUGUST), paid, spreads, contract)))
    for coin, spreads in (("BTC", MAJOR), ("DOGE", MINOR), ("SOL", MINOR)):
        rows.append(("2025-10-10", (coin, *names("binance", YEAR, YEAR), funding("binance", YEAR), spreads, 1.0)))
    steps = {"BTC": 0.001, "DOGE": 1.0, "SOL": 0.01}
    return [(day, pair(data, *what, perp_step=steps[what[0]] if day == "2025-10-10" else 0.0)) for day, what in rows]


def crash_row(day: str, inputs: Inputs) -> tuple[str, ...]:
    tape = inputs.tape()
    settings = Rule(entry_bps=None, exit_bps=None, clip_usdt=CLIP_USDT, max_hold_s=86_400.0)
    market = study.market(inputs, tape, settings)
    start_ns = round(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * NS
    known = tape.between(max(tape.start_ns, start_ns - 7 * DAY_NS), start_ns)
    window = tape.between(start_ns, start_ns + 2 * DAY_NS)
    seen = basis_of(window, inputs.fees_bps, 1.0)
    leave_bps = basis_of(known, inputs.fees_bps, 1.0).distributions()["exit_cost"].p50
    stated = market.replay(window, Thresholds(leave_bps + ABOVE_BPS, leave_bps, 86_400.0))
    closes = seen.basis_bps[seen.fresh]
    bars = 2 * 86_400 / tape.bar_s
    before = tape.between(start_ns - DAY_NS, start_ns + 2 * DAY_NS)
    holder = market.replay(before, Thresholds(-999.0, -1000.0, 30 * 86_400.0))
    return (
        f"{day} {inputs.pair.split('_')[0]}, {inputs.perp_venue}",
        f"{closes.min():.0f} to {closes.max():.0f}",
        f"{max(bars - seen.fresh.sum(), 0):.0f} of {bars:.0f}",
        chosen(known, market, settings),
        f"{len(stated.trades)}" + (" (halted)" if stated.halted else ""),
        *nets(window, stated),
        *reversed(nets(before, holder)),
    )


def nets(tape, result) -> tuple[str, str]:
    """Net and worst marked equity in bps of what one pair bought (fewer coins than a clip where few were shown)."""
    if not result.trades:
        return NOTHING, NOTHING
    bought = np.mean([trade.notional_usdt for trade in result.trades]) / 1e4
    return number(result.net_usdt / bought, 0), number(equity(tape, result).net.min() / bought, 0)


def chosen(known, market, settings) -> str:
    """What the walk-forward's choice makes of the days before."""
    demands = Constraints(min_trades_day=0.5, max_hold_s=settings.max_hold_s, look_back_h=168.0)
    periods_ns = 900 * NS
    start_ns = known.end_ns - (known.end_ns - known.start_ns) // periods_ns * periods_ns
    fit = propose(LookBack(known, start_ns, known.end_ns, market, demands, 900.0))
    return "no trade" if fit.thresholds is None else f"{fit.thresholds.entry_bps:g} / {fit.thresholds.exit_bps:g}"


def crash_table(data: Path) -> Table:
    heads = (
        "day, pair, perpetual", "basis at closes, bps", "bars out", "chosen before", "stated rule: pairs", "net, bps",
        "worst mark, bps", "holder: worst mark, bps", "holder: net, bps",
    )  # fmt: skip
    note = f"Two days each, fees 5 bps per fill, bps of the notional of a pair (clip {CLIP_USDT:g} USDT); half-spreads {MAJOR[0]:g} (BTC), "
    note += f"{MINOR[0]:g} (SOL, DOGE) and {SMALL[0]:g} bps. A bar is out where a leg did not trade or is missing."
    return Table.of("What it did on crash days", heads, made(crash_row, crashes(data), len(heads)), note)


# --- carry -----------------------------------------------------------------------------------------------------------


def carried(data: Path) -> list[tuple[str, Inputs]]:
    """Every pair of which months of candles and funding overlap."""
    gate, hourly = names("gateio", GATE_YEAR, YEAR, "1h"), {"bar_s": 3600.0}
    rows = []
    for coin, spreads, contract in (("BTC", MAJOR, 1e-4), ("DOGE", MINOR, 10.0), ("SOL", MINOR, 1.0)):
        rows.append(("", pair(data, coin, *gate, funding("gateio", GATE_YEAR), spreads, contract, **hourly)))
    for coin, spreads, step in (("BTC", MAJOR, 0.001), ("DOGE", MINOR, 1.0), ("SOL", MINOR, 0.01)):
        own = names("binance", YEAR, YEAR)
        paid = funding("binance", YEAR)
        rows.append(("", pair(data, coin, *own, paid, spreads, 1.0, perp_step=step, **hourly)))
    spring = "2023-01-01_2023-09-22"
    files = (*names("gateio", spring, spring), funding("gateio", spring))
    rows.append(("2023 ", pair(data, "BTC", *files, MAJOR, 1e-4, **hourly)))
    return rows


def carry_row(when: str, inputs: Inputs) -> tuple[str, ...]:
    tape = inputs.tape()
    settings = Rule(entry_bps=None, exit_bps=None, clip_usdt=CLIP_USDT, max_hold_s=365 * 86_400.0)
    found = carry_walk_forward.walk(tape, study.market(inputs, tape, settings), rng=np.random.default_rng(7))
    days, held = found.net_bps_day, found.trades
    return (
        f"{when}{inputs.pair.split('_')[0]}, {inputs.perp_venue}",
        number(found.even.funding_bps_day),
        number(found.even.costs_bps, 1),
        number(found.even.days, 0),
        f"{len(held)}",
        NOTHING if days is None else f"{days.value:.2f} ({days.low:.2f} to {days.high:.2f})",
        *(number(found.part_bps_day(part)) if held else NOTHING for part in ("funding", "basis", "fees")),
        number(found.rest_bps_day),
        number(found.always_bps, 0),
        "yes" if found.pays else "no",
    )


def carry_table(data: Path) -> Table:
    heads = (
        "pair, perpetual", "funding, bps/day", "round trip, bps", "break-even, days", "pairs", "net, bps/day",
        "funding", "basis", "fees", "without best day", "held throughout, bps", "pays",
    )  # fmt: skip
    note = "Walked forward in steps of 30 days behind a look-back of 120; fees 5 bps per fill; bps of the clip."
    return Table.of("What carry was worth", heads, made(carry_row, carried(data), len(heads)), note)


# --- month by month ---------------------------------------------------------------------------------------------------


def with_months(data: Path) -> list[Inputs]:
    """Every pair of which a month of candles and funding overlap, on the shortest bars of both legs; makers on spot pay 0."""
    found, resting = [], {"spot_maker_fee_bps": "0"}
    for coin, spreads, contract in (("BTC", MAJOR, 1e-4), ("DOGE", MINOR, 10.0), ("SOL", MINOR, 1.0)):
        files = (*names("gateio", GATE_YEAR, YEAR, "1h"), funding("gateio", GATE_YEAR))
        found.append(pair(data, coin, *files, spreads, contract, bar_s=3600.0, **resting))
    spring, steps = "2023-01-01_2023-09-22", {"BTC": 0.001, "DOGE": 1.0, "SOL": 0.01, "ZEC": 0.001}
    found.append(pair(data, "BTC", *names("gateio", spring, spring), funding("gateio", spring), MAJOR, 1e-4, **resting))
    winter = "2026-01-26_2026-02-25"
    files = (*names("gateio", winter, "2026-01-26_2026-02-19"), funding("gateio", GATE_YEAR))
    found.append(pair(data, "LTC", *files, MINOR, 0.1, **resting))
    for coin, span in (("BTC", YEAR), ("DOGE", YEAR), ("SOL", YEAR), ("ZEC", "2025-09-01_2026-02-19")):
        files, spreads = (*names("binance", span, span), funding("binance", span)), MAJOR if coin == "BTC" else MINOR
        found.append(pair(data, coin, *files, spreads, 1.0, perp_step=steps[coin], **resting))
    files = (
        "bybit_spot_{coin}_candles_5m_2025-04-11_2025-08-09.parquet",
        "bybit_futures_{coin}_candles_5m_2025-04-11_2025-08-10.parquet",
    )
    found.append(
        pair(data, "BTC", *files, funding("bybit", "2025-04-11_2025-08-09"), MAJOR, 1.0, perp_step=0.001, **resting)
    )
    autumn = "2025-09-24_2026-02-19"
    for coin, spreads in (("BTC", MAJOR), ("SOL", MINOR)):
        files = (*names("bybit", autumn, YEAR), funding("bybit", autumn))
        found.append(pair(data, coin, *files, spreads, 1.0, perp_step=steps[coin], **resting))
    return found


def months_of(tape: Tape) -> list[tuple[str, Tape]]:
    """The calendar months of which ten days are there."""
    months = np.arange(
        np.datetime64(tape.start_ns, "ns").astype("M8[M]"), np.datetime64(tape.end_ns, "ns").astype("M8[M]") + 1
    )
    parts = [(str(m), tape.between(*(int(x.astype("M8[ns]").astype(np.int64)) for x in (m, m + 1)))) for m in months]
    return [(name, part) for name, part in parts if len(part) and part.end_ns - part.start_ns >= 10 * DAY_NS]


def month_rows(inputs: Inputs) -> list[tuple[str, ...]]:
    tape, settings = inputs.tape(), Rule(clip_usdt=CLIP_USDT, max_hold_s=365 * 86_400.0)
    market, name = study.market(inputs, tape, settings), f"{inputs.pair.split('_')[0]}, {inputs.perp_venue}"
    try:
        hourly = replace(inputs, bar_s=3600.0)
        walked = carry_walk_forward.walk(
            hourly.tape(), study.market(hourly, hourly.tape(), settings), rng=np.random.default_rng(7)
        )
    except DeltaArbError:
        walked = None
    rows = []
    for month, part in months_of(tape):
        paid = [p for p in market.payments if part.start_ns <= p.ts_ns <= part.end_ns]
        taken, *rests = carry_ways.ways(part, replace(market, payments=tuple(paid)), paid)
        days = (number(way.even.days, 0) for way in (taken, *rests))
        rows.append((name, month, number(taken.even.funding_bps_day), *days, judged(walked, part), verdict(walked)))
    return rows


def judged(walked, part: Tape) -> str:
    """What the walk earned in a month, by rules chosen before it; bps of the clip."""
    if walked is None:
        return NOTHING
    start_ns = walked.folds[0].start_ns
    first, past = ((ns - start_ns) // DAY_NS for ns in (part.start_ns, part.end_ns))
    return "look-back" if first < 0 else f"{walked.daily[first : past + 1].sum():.1f}"


def verdict(walked) -> str:
    if walked is None or not walked.pays:
        return "too short to judge" if walked is None else "no"
    return "trade" if walked.now.thresholds else "no: paid, but no rule for the time to come"


def months_table(data: Path) -> Table:
    heads = (
        "pair, perpetual", "month", "funding, bps/day", "days: taken", "days: reached", "days: through", "walk, bps", "verdict on the pair",
    )  # fmt: skip
    found = with_months(data)
    rows = [row for inputs in found for row in made_all(month_rows, inputs, len(heads))]
    note = (
        "Days: how long a hold must last at that month's funding. Fees 5 bps a taker's fill, a maker on spot 0; spot rests up to 4 h "
        "and is then taken, with the funding missed. Candles prove only a quote that reaches ours (reached). n/a: funding paid nothing."
    )
    return Table.of("Carry, month by month, with both ways in", heads, rows, note)


def made_all(rows_of, inputs: Inputs, width: int) -> list[tuple[str, ...]]:
    """The rows of a pair, or one that says what is missing."""
    if not (Path(inputs.spot).exists() and Path(inputs.perp).exists()):
        print(f"left out: {Path(inputs.spot).name} or {Path(inputs.perp).name} is not there", file=sys.stderr)
        return []
    try:
        return rows_of(inputs)
    except DeltaArbError as error:
        return [(f"{inputs.name}: {error}", *[NOTHING] * (width - 1))]


# --- funding alone ---------------------------------------------------------------------------------------------------

SHORT = ("ARKM", "BOME", "CRV", "DOGE", "ENA", "GMT", "HBAR", "JASMY", "LUNA", "ORDI", "PEPE", "STMX", "TRB")


def even_table(data: Path) -> Table:
    """Break-even holds where funding is recorded and too few candles to walk forward."""
    rows = []
    for coin, span in (("LTC", GATE_YEAR), *((coin, AUGUST) for coin in SHORT)):
        path = data / funding("gateio", span).format(coin=f"{coin}_USDT")
        if not path.exists():
            print(f"left out: {path.name} is not there", file=sys.stderr)
            continue
        spreads = MINOR if coin in ("LTC", "DOGE") else SMALL
        paid = payments(path, Tape.of([(0, SPOT, 1.0, 1.1, 1.0, 1.0), (0, PERP, 1.0, 1.1, 1.0, 1.0)]))
        found = break_even(paid, 20.0 + 2 * sum(spreads))
        rows.append((
            f"{coin}, {span.replace('_', ' to ')}", number(found.funding_bps_day), number(found.costs_bps, 0),
            number(found.days, 0), share(found.negative_share),
        ))  # fmt: skip
    heads = "pair at Gate", "funding, bps/day", "round trip, bps", "break-even, days", "stamps that cost"
    return Table.of(
        "How long a hold must last", heads, rows, "From funding alone: four fees of 5 bps, half-spreads stated."
    )


# --- print -----------------------------------------------------------------------------------------------------------


def made(row, of, width: int) -> list[tuple[str, ...]]:
    """The rows there are data for; a refusal is said in its row."""
    rows = []
    for when, inputs in of:
        if not (Path(inputs.spot).exists() and Path(inputs.perp).exists()):
            print(f"left out: {Path(inputs.spot).name} or {Path(inputs.perp).name} is not there", file=sys.stderr)
            continue
        try:
            rows.append(row(when, inputs))
        except DeltaArbError as error:
            rows.append((f"{when} {inputs.name}: {error}", *[NOTHING] * (width - 1)))
    return rows


def markdown(table: Table) -> str:
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    return "\n".join(
        [f"**{table.title}**", "", *("| " + " | ".join(line) + " |" for line in lines), "", table.note, ""]
    )


def refuse_without(data: Path) -> None:
    """Without a single file of candles there would be three empty tables."""
    if not any(data.glob("*_candles_*.parquet")):
        print(
            f"error: {data} holds no recorded candles (*_candles_*.parquet); name their folder with --data",
            file=sys.stderr,
        )
        raise SystemExit(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crash", action="store_true", help="only the crash days")
    parser.add_argument("--carry", action="store_true", help="only carry")
    parser.add_argument("--months", action="store_true", help="only carry month by month, with both ways in")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the recordings")
    options = parser.parse_args()
    refuse_without(options.data)
    everything = not (options.crash or options.carry or options.months)
    if options.crash or everything:
        print(markdown(crash_table(options.data)))
    if options.months or everything:
        print(markdown(months_table(options.data)))
    if options.carry or everything:
        print(markdown(carry_table(options.data)))
        print(markdown(even_table(options.data)))


if __name__ == "__main__":
    main()
