"""The page of a universe: a card for each pair, read on a phone as on a desk, with links to the pair's own runs."""

import html
from collections.abc import Iterator
from pathlib import Path

from delta_arb.params import pair_name, write_atomic
from delta_arb.report.banner import number, tiles, verdict
from delta_arb.report.pages import document, run_folders
from delta_arb.tables import seconds, share
from delta_arb.universe.ranking import RankedPair, Universe
from delta_arb.universe.tables import findings, funding, said, word

NOTEBOOKS = ("01_spread_analysis", "02_optimization", "03_backtest_report")


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
        verdict(True)
        if of.trade
        else f'<span class="pill {kind if kind == "no" else "failed"}">{html.escape(word(of))}</span>'
    )
    more = "".join(f"<li>{html.escape(text)}</li>" for text in _more(of))
    return (
        f'<section class="card {kind}"><h3>{place}. {html.escape(of.pair)}</h3><p>{pill} {html.escape(_short(of))}</p>'
        f"<dl>{tiles(_tiles(of))}</dl><details><summary>reasons and data</summary><ul>{more}</ul></details>"
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
    yield "first part, USDT/day", number(of.rank_usdt_day, "+.3f")
    for way, v in of.ways.items():
        if v.net_usdt_day is not None:
            spread = f" <small>{number(v.low_usdt_day, '+.3f')} to {number(v.high_usdt_day, '+.3f')}</small>"
            yield f"{way} out of sample, USDT/day", number(v.net_usdt_day, "+.3f") + spread
            yield f"{way} on the last third", number(v.unseen_usdt_day, "+.3f")
    low, high = number(f["basis_low_bps"], ".0f"), number(f["basis_high_bps"], ".0f")
    yield "basis, bps", f"{number(f['basis_bps'], '.1f')} <small>{low} to {high}</small>"
    yield "half-life", html.escape(seconds(f["half_life_s"]))
    yield "episodes/day", number(f["episodes_day"], ".1f")
    yield "depth, USDT", number(f["depth_usdt"], ",.0f")
    yield "funding, bps/day", html.escape(funding(of))
    yield (
        "break-even, days",
        number(f["break_even_days"], ",.0f") + f" <small>spot resting {number(f['resting_days'], ',.0f')}</small>",
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
