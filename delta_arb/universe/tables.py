"""A universe as tables and a figure, which notebook 00 shows and the command prints, and as a page.

The page has a card for each pair, read on a phone as on a desk, with links to the pair's own runs.
"""

import html
from collections.abc import Iterator, Sequence
from pathlib import Path

from delta_arb.market import utc
from delta_arb.params import pair_name, write_atomic
from delta_arb.report import banner, figures
from delta_arb.report.figures import Picture
from delta_arb.report.job import NOTEBOOKS
from delta_arb.report.pages import document, run_folders
from delta_arb.tables import NOTHING, Findings, Heading, Table, number, seconds, share
from delta_arb.universe.ranking import WAYS, RankedPair, Universe, WayVerdict

SHOWN, DRAWN = 40, 24


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


def refusals(universe: Universe, most: int = SHOWN) -> str:
    """Why not, a line a pair: of the best that are not to be traded, and of as many more that could not be read."""
    rest = [each for each in universe.pairs[most:] if "refused" in each.figures]
    return "\n".join(f"{each.pair}: {each.reason}" for each in (*universe.pairs[:most], *rest[:most]) if not each.trade)


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


def write_page(universe: Universe, folder: Path, venues: tuple[str, str]) -> Path:
    """`index.html` in a folder below that of all reports."""
    cards = "".join(_card(each, k, folder, venues) for k, each in enumerate(universe.pairs, 1))
    mark = '<p><span class="pill synthetic">synthetic</span></p>' if universe.synthetic else ""
    sentences = "".join(f"<p>{html.escape(text)}</p>" for text in findings(universe).sentences)
    asked = html.escape(". ".join(universe.asked))
    body = (
        f'<header class="bar"><b>delta_arb</b><span>universe of {len(universe.pairs)} pairs, {html.escape(" and ".join(venues))}</span>'
        '<nav><a href="../index.html">all runs</a></nav></header>'
        f'<main class="index"><h2>Which pairs deserve your time?</h2>{mark}{sentences}'
        '<p class="quiet">It publishes nothing. Figures are of the first two thirds of the data unless they say otherwise; '
        "net is USDT a day at the depth shown, after all costs.</p>"
        f'<details><summary>what was asked</summary><p class="quiet">{asked}</p></details>'
        '<p class="tools"><input type="search" id="filter" placeholder="filter pairs" aria-label="filter pairs"></p>'
        f'<div class="cards">{cards}</div><p class="quiet">digest of all results {universe.digest[:16]}</p></main>'
    )
    return write_atomic(folder / "index.html", document("delta_arb universe", body, "universe.js"))


def _card(of: RankedPair, place: int, folder: Path, venues: tuple[str, str]) -> str:
    kind = "yes" if of.trade else "no" if of.ways and not of.vetoes else "none"
    pill = (
        banner.verdict(True)
        if of.trade
        else f'<span class="pill {kind if kind == "no" else "failed"}">{html.escape(word(of))}</span>'
    )
    more = "".join(f"<li>{html.escape(text)}</li>" for text in _more(of))
    return (
        f'<section class="card {kind}"><h3>{place}. {html.escape(of.pair)}</h3><p>{pill} {html.escape(_short(of))}</p>'
        f"<dl>{banner.tiles(_tiles(of))}</dl><details><summary>reasons and data</summary><ul>{more}</ul></details>"
        f"{_runs(of.pair, folder, venues)}</section>"
    )


def _short(of: RankedPair) -> str:
    """The first words of the reason; all of it is below."""
    text = " and ".join(way for way, v in of.ways.items() if v.trade) if of.trade else of.reason
    return text if len(text) <= 110 else text[:107].rsplit(" ", 1)[0] + " ..."


def _tiles(of: RankedPair) -> Iterator[tuple[str, str]]:
    f = of.figures
    if "refused" in f:
        return
    yield "first part, USDT/day", banner.number(of.rank_usdt_day, "+.3f")
    for way, v in of.ways.items():
        if v.net_usdt_day is not None:
            ends = [banner.number(end, "+.3f") for end in (v.low_usdt_day, v.high_usdt_day)]
            spread = "" if v.low_usdt_day is None else f" <small>{' to '.join(ends)}</small>"
            yield f"{way} out of sample, USDT/day", banner.number(v.net_usdt_day, "+.3f") + spread
            yield f"{way} on the last third", banner.number(v.unseen_usdt_day, "+.3f")
    low, high = banner.number(f["basis_low_bps"], ".0f"), banner.number(f["basis_high_bps"], ".0f")
    yield "basis, bps", f"{banner.number(f['basis_bps'], '.1f')} <small>{low} to {high}</small>"
    yield "half-life", html.escape(seconds(f["half_life_s"]))
    yield "episodes/day", banner.number(f["episodes_day"], ".1f")
    yield "depth, USDT", banner.number(f["depth_usdt"], ",.0f")
    yield "funding, bps/day", html.escape(funding(of))
    yield (
        "break-even, days",
        banner.number(f["break_even_days"], ",.0f")
        + f" <small>spot resting {banner.number(f['resting_days'], ',.0f')}</small>",
    )


def _more(of: RankedPair) -> Iterator[str]:
    yield from (f"veto: {text}" for text in of.vetoes)
    f = of.figures
    if "refused" in f:
        yield f["refused"]
        return
    yield from (f"{way}: {said(v)}" for way, v in of.ways.items() if not of.vetoes)
    if f["half_life_why"]:
        yield f"no half-life: {f['half_life_why']}"
    yield f"one coin: {f['coin_why']}"
    yield f"{f['rows']:,} events, bad rows {share(f['bad_share'], 2)}"
    yield from (f"guessed: {text}" for text in of.guessed)
    yield from (f"note: {text}" for text in f["notes"])
    yield "break-even with the spot leg resting is an assumption: that it fills at the maker fee is not tested here"


def _runs(pair: str, folder: Path, venues: tuple[str, str]) -> str:
    """Links to the pages of the pair's newest run."""
    runs = run_folders(folder.parent / pair_name(pair, *venues))
    pages = [name for name in NOTEBOOKS if runs and (runs[-1] / f"{name}.html").exists()]
    at = f"../{runs[-1].parent.name}/{runs[-1].name}" if runs else ""
    links = " ".join(f'<a href="{html.escape(at)}/{name}.html">{name[:2]}</a>' for name in pages)
    return f"<p>run: {links}</p>" if links else '<p class="quiet">no run of the pipeline yet</p>'


def offers(universe: Universe, most: int = DRAWN) -> Picture | Table:
    """Of the best pairs the range of the basis, and funding a day with its interval; green: to trade, red: a veto."""
    title, shown = "What the basis and funding offer", [p for p in universe.pairs if "basis_bps" in p.figures][:most]
    if not shown:
        return figures.empty(title, "no pair could be read", universe)
    with figures.picture(title, universe, 1.4 + 0.28 * len(shown), ncols=2, sharey=True) as (figure, (left, right)):
        for k, each in enumerate(shown):
            f, color = each.figures, _color(each)
            left.plot([f["basis_low_bps"], f["basis_high_bps"]], [k, k], color=color, linewidth=3)
            left.plot(f["basis_bps"], k, "o", color=figures.INK, markersize=4)
            if f["funding_low"] is not None:
                right.plot([f["funding_low"], f["funding_high"]], [k, k], color=color)
            if f["funding_bps_day"] is not None:
                right.plot(f["funding_bps_day"], k, "o", color=color, markersize=5)
        left.set_yticks(range(len(shown)), [each.pair for each in shown])
        left.invert_yaxis()
        left.set_xlabel("basis of the mids, 5 to 95 %, bps")
        right.axvline(0, color=figures.EDGE, linewidth=0.8)
        right.set_xlabel("funding paid to a short, bps a day")
    return Picture(figures.marked(title, universe), figure)


def _color(of: RankedPair) -> str:
    return figures.GAIN if of.trade else figures.LOSS if of.vetoes else figures.SPOT
