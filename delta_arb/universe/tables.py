"""A universe as tables: what notebook 00 shows and the command prints."""

from collections.abc import Sequence

from delta_arb.market import utc
from delta_arb.tables import NOTHING, Findings, Heading, Table, number, seconds, share
from delta_arb.universe.ranking import WAYS, RankedPair, Universe, WayVerdict

SHOWN = 40


def heading(universe: Universe) -> Heading:
    """What was asked of which quotes."""
    spans = [(f["start_ns"], f["cut_ns"]) for each in universe.pairs if "cut_ns" in (f := each.figures)]
    ranks = (
        f"ranked by {utc(min(s for s, _ in spans))[:10]} to {utc(max(e for _, e in spans))[:10]} UTC" if spans else ""
    )
    lines = tuple(filter(None, (*universe.asked, ranks)))
    return Heading(universe.name, universe.synthetic, lines, universe.candles)


def ranking(universe: Universe, most: int = SHOWN) -> Table:
    """The best pairs: verdict, what the first part showed, the basis, carry."""
    rows = [_row(each) for each in universe.pairs[:most]]
    heads = (
        "pair", "verdict", "first part, USDT/day", "last third, USDT/day", "basis, bps", "5 to 95 %", "half-life",
        "episodes/day", "depth, USDT", "funding, bps/day", "break-even, days", "spot resting, days",
    )  # fmt: skip
    left = len(universe.pairs) - most
    note = f"Ranked by the first two thirds of the data. {spoken_tests(universe)}"
    return Table.of("Pairs, the best first", heads, rows, note + (f" {left} more are on the page." if left > 0 else ""))


def _row(of: RankedPair) -> tuple[str, ...]:
    f = of.figures
    unseen = [v.unseen_usdt_day for v in of.ways.values() if v.unseen_usdt_day is not None]
    return (
        of.pair,
        word(of),
        number(of.rank_usdt_day, 3, sign=True),
        number(max(unseen, default=None), 3, sign=True),
        number(f.get("basis_bps"), 1),
        f"{number(f.get('basis_low_bps'), 0)} to {number(f.get('basis_high_bps'), 0)}" if "basis_bps" in f else NOTHING,
        seconds(f.get("half_life_s")),
        number(f.get("episodes_day"), 1),
        number(f.get("depth_usdt"), 0),
        funding(of),
        number(f.get("break_even_days"), 0),
        number(f.get("resting_days"), 0),
    )


def word(of: RankedPair) -> str:
    """The verdict in a word or two."""
    if "refused" in of.figures:
        return "refused"
    if of.vetoes:
        return "veto"
    ways = [way for way, verdict in of.ways.items() if verdict.trade]
    return f"trade {' and '.join(ways)}" if ways else "no"


def funding(of: RankedPair) -> str:
    """Funding a day with its interval."""
    f = of.figures
    if f.get("funding_bps_day") is None:
        return NOTHING
    interval = "" if f["funding_low"] is None else f" ({number(f['funding_low'], 1)} to {number(f['funding_high'], 1)})"
    return number(f["funding_bps_day"], 2) + interval


def reasons(universe: Universe, most: int = SHOWN) -> Table:
    """Why each way of each pair is traded or not."""
    rows = [(each.pair, word(each), *_whys(each)) for each in universe.pairs[:most]]
    return Table.of("Verdicts and their reasons", ("pair", "verdict", *WAYS), rows)


def _whys(of: RankedPair) -> Sequence[str]:
    return [said(of.ways[way]) for way in WAYS] if of.ways and not of.vetoes else [of.reason, NOTHING]


def said(verdict: WayVerdict) -> str:
    """A verdict's reason, with the adjusted p where it was tested."""
    tested = "" if verdict.p is None else f" (adjusted p {verdict.p:.3f})"
    return f"{'halted; ' if verdict.halted and 'halt' not in verdict.reason else ''}{verdict.reason}{tested}"


def quality(universe: Universe, most: int = SHOWN) -> Table:
    """What the figures stand on: data, proof of one coin, what was guessed."""
    rows = [
        (
            each.pair,
            f"{each.figures['rows']:,}",
            share(each.figures["bad_share"], 2),
            each.figures["coin_why"],
            "; ".join((*each.guessed, *each.figures["notes"])) or "nothing",
        )
        for each in universe.pairs[:most]
        if "rows" in each.figures
    ]
    return Table.of("What the figures stand on", ("pair", "events", "bad rows", "one coin", "guessed or noted"), rows)


def spoken_tests(universe: Universe) -> str:
    n = len(universe.pairs)
    return (
        f"{n} pairs are listed and all are paid for, {universe.tests} tests with both ways: the best of as many without edge "
        f"reaches z = {universe.z:.2f} in one universe of twenty."
    )


def findings(universe: Universe) -> Findings:
    """The last words."""
    trades = [each.pair for each in universe.trades]
    pairs = universe.pairs
    screened = sum(all(v.screened for v in each.ways.values()) for each in pairs if each.ways)
    vetoed, unread = sum(bool(each.vetoes) for each in pairs), sum("refused" in each.figures for each in pairs)
    return Findings.of(
        f"To trade: {', '.join(trades)}. Run the pipeline on {'them' if len(trades) > 1 else 'it'}; only that exports parameters."
        if trades
        else "No pair earns a place: nothing passes the gates, the joint test and the untouched third together.",
        f"Of {len(pairs)} pairs the screen excluded {screened}, a veto {vetoed}; {unread} were refused.",
        spoken_tests(universe),
        "All quotes are SYNTHETIC: this says that the program works, nothing about a market."
        if universe.synthetic
        else "",
    )
