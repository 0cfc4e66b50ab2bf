"""What every page shows first: the verdict, what it rests on, the demands with their numbers, and what kills it."""

import html
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from delta_arb.market import DAY_S
from delta_arb.params import BY_HAND
from delta_arb.tables import lasting, not_above_zero, quantity, rests, seconds, share

DASH = "—"
PAGE_LABELS = {"01": "Spread", "02": "Optimization", "03": "Backtest"}
HINTS = {
    "synthetic": "made by a program; says nothing about any market",
    "candles": "bid and ask were not recorded: last prices and stated half-spreads",
}
YEAR_DAYS = 30  # fewer days behind it make a figure a year an extrapolation, and it says so
SIGNS = {"missed": "✗", "warns": "!", "met": "✓"}
FIGURES = (
    ("Net USDT/day", "net_usdt_day", ""),  # as money
    ("Trades", "trades", "d"),
    ("Net bps/trade", "net_bps", "+.1f"),
    ("Above cash %/year", "above_cash_percent", "+,.1f"),
)


def banner(record: dict, pages: list[str], here: str, up: str) -> str:
    """Header of a page: where we are, what came out, the ways to the other pages.

    `record` is the run's, with `metrics`, `line` (the bottom line) and `candidate` as they lie in its folder; empty
    where a run did not get so far.
    """
    ways = "".join(
        f'<a href="{page}.html"{" class=here" if page == here else ""}>{page[:2]} {page_label(page)}</a>'
        for page in pages
    )
    return (
        '<a class="skip" href="#content">to the content</a>'
        f'<header class="bar"><b>delta_arb</b><span>{html.escape(record["pair"])}{mark_pills(record)}</span>'
        f"<span>{time_element(record['stamp'])} UTC</span>"
        f'<nav aria-label="pages">{ways}<a href="{up}/index.html">All runs</a></nav></header>'
        f'<section class="outcome {record["status"]} {"yes" if record.get("trade") else "no"}" aria-label="outcome">'
        f'<p class="verdict">{result(record)}{mark_pills(record)} {html.escape(plain(record))}</p>{_outcome(record)}</section>'
    )


def plain(record: dict) -> str:
    """The verdict in one plain sentence; of a run that failed, its error."""
    candidate = record.get("candidate") or {}
    rule, missed, met = candidate.get("rule") or {}, _gates(record, "missed"), _gates(record, "met")
    if record.get("status") != "ok" or not candidate:
        return str(record.get("reason") or "")
    if not record.get("trade"):
        names = "; ".join(gate["name"] for gate in missed)
        are = "is" if len(missed) == 1 else "are"
        return f"{len(missed)} of {len(missed + met)} demands {are} missed: {names}." if missed else _reason(record)
    held = f"Enter at {number(rule.get('entry_bps'), '.1f')} bps or more, leave at {number(rule.get('exit_bps'), '.1f')} bps or less"
    hours = f", hold at most {number(rule.get('max_hold_s', 0) / 3600, ',.4g')} h."
    parts = [held + hours, *(f"{sentence(said)}." for said in [rests(candidate)] if said)]
    if candidate.get("chosen") == BY_HAND:
        parts.append("Chosen by hand: no demand was asked.")
    elif kept(candidate):
        parts.append("Kept in force: this run alone would publish nothing, but nothing speaks against it.")
    elif met:
        parts.append(f"All {len(met)} demands are met.")
    return " ".join(parts)


def kept(candidate: dict) -> bool:
    """Whether the thresholds stay in force though this run's quotes do not pass them: they last passed on earlier ones."""
    passed, end = (candidate.get("evidence") or {}).get("last_passed"), (candidate.get("data") or {}).get("end")
    return bool(passed and end) and datetime.fromisoformat(end) - datetime.fromisoformat(passed) > timedelta(seconds=1)


def _gates(record: dict, *results: str) -> list[dict]:
    return [g for g in (record.get("candidate") or {}).get("gates") or [] if g["result"] in results]


def _reason(record: dict) -> str:
    return sentence(record.get("reason"))


def sentence(reason: object) -> str:
    text = str(reason or "")
    return text[:1].upper() + text[1:]


def _outcome(record: dict) -> str:
    line = record.get("line")
    if record.get("status") != "ok" or not line:
        return ""
    shown = f"<dl>{tiles(_tiles(line, record))}</dl>" if line["trades"] else ""
    return "".join((warnings(record), _refusal(line, record), shown, _demands(record), _in_full(record)))


def _tiles(line: dict, record: dict) -> Iterator[tuple[str, str]]:
    """The first ten seconds, each with what to hold beside it; of a refusal only what it rests on."""
    trade = record.get("trade")
    low, high = line["low_usdt_day"], line["high_usdt_day"]
    interval = "no interval" if low is None else f"95 %: {usdt(low)} to {usdt(high)}"
    bps = f"{number(line['net_bps'], '+.1f')} bps a trade"
    yield "Net out of sample, USDT/day", f"{usdt(line['net_usdt_day'])} {_small(interval, bps)}"
    yield "Rests on", f"{counted(line['trades'], 'trade')} {_small(line['rests_on'], span(line['days']))}"
    if line["percent"] is None:
        yield "A year above cash", f"{DASH} {_small('less than a day says nothing of a year')}"
    else:
        form = "+,.0f" if abs(line["above_cash_percent"]) >= 100 else "+.1f"
        year = f"{number(line['percent'], '+,.1f')} % on {number(line['capital_usdt'], ',.0f')} USDT, cash {line['cash_percent']:.3g} %"
        thin = f"extrapolated from {span(line['days'])}" if line["days"] < YEAR_DAYS else f"from {span(line['days'])}"
        yield "A year above cash", f"{number(line['above_cash_percent'], form)} % {_small(year, thin)}"
    worst = max(line["stresses"], key=lambda stress: stress["usdt"])
    yield "Worst stress", f"{number(worst['usdt'], ',.2f')} USDT {_small(worst['name'], earned_back(worst['years']))}"
    if not trade:
        return
    if line["net_bps"] > 0:
        yield "Nothing is left if costs rise by", f"{number(line['net_bps'], '.1f')} bps {_small('a trade')}"
    if line["without_best_day_usdt_day"] is not None:
        yield "Without its best day", f"{usdt(line['without_best_day_usdt_day'])} {_small('USDT/day')}"
    if line["break_even_days"] is not None:
        held = f"held {span(line['held_days'])} on average"
        yield "Costs earned back in", f"{span(line['break_even_days'])} {_small(held)}"
    evidence = (record.get("candidate") or {}).get("evidence") or {}
    if evidence.get("confidence") is not None:
        ahead = span(evidence["horizon_s"] / DAY_S) if evidence.get("horizon_s") else "time ahead"
        yield "Chance of a gain", f"{share(evidence['confidence'])} {_small(f'estimated, of the next {ahead}')}"


def usdt(value: object) -> str:
    """Money with its sign: two digits behind the point, or two that say something where it is less than one."""
    small = isinstance(value, int | float) and 1e-4 <= abs(value) < 1
    return number(value, "+#.2g" if small else "+,.2f")


def earned_back(years: float | None) -> str:
    """How long the pair takes to earn what an accident costs."""
    return "never earned back" if years is None else f"{lasting(years)} of earnings"


def _small(*lines: str) -> str:
    return f"<small>{'<br>'.join(map(html.escape, lines))}</small>"


def warnings(record: dict) -> str:
    """What warns and does not refuse: first that a loss is not excluded."""
    found = (f"{g['finding']}: {g['meaning']}" for g in _gates(record, "warns"))
    said = "; ".join(filter(None, (_not_above_zero(record), *found)))
    return f'<p class="warns"><b>Warning, no refusal:</b> {html.escape(said)}.</p>' if said else ""


def _not_above_zero(record: dict) -> str:
    """Of thresholds that are not refused: whether their net out of sample may be a loss."""
    candidate, line = record.get("candidate") or {}, record.get("line") or {}
    if not (record.get("trade") or candidate.get("chosen") == BY_HAND):
        return ""
    if line:
        return not_above_zero(line["low_usdt_day"], line["high_usdt_day"])
    evidence = candidate.get("evidence") or {}
    return not_above_zero(evidence.get("walk_net_low_usdt_day"), evidence.get("walk_net_high_usdt_day"))


def _demands(record: dict) -> str:
    """Every demand with its number, its bound and what it asks; the missed ones first, folded where a refusal names them."""
    asked = [gate for results in (("missed",), ("met", "warns")) for gate in _gates(record, *results)]
    if not asked:
        return ""
    title = f"{len(asked)} numbers that were asked for" if not record.get("trade") else "the demands"
    rows = "".join(map(_demand, asked))
    return (
        f'<details class="asked"{" open" if record.get("trade") else ""}><summary>{title}</summary>'
        f'<ul class="demands" aria-label="demands">{rows}</ul></details>'
    )


def _demand(gate: dict) -> str:
    kind = gate["result"]
    bound = f"{'at least' if gate['at_least'] else 'at most'} {quantity(gate['bound'], gate['unit'])}"
    return (
        f'<li class="{kind}"><b aria-label="{kind}">{SIGNS[kind]}</b> {html.escape(gate["name"])} '
        f"<span>{html.escape(quantity(gate['value'], gate['unit'], 3))}</span> <i>{html.escape(bound)}"
        f"{', warns only' if kind == 'warns' else ''}</i><small>{html.escape(gate['meaning'])}</small></li>"
    )


def _refusal(line: dict, record: dict) -> str:
    """A refusal is one screen: what was looked for, what was missing, what would have to change."""
    found = line.get("refusal")
    if not found:
        return ""
    titles = (("Missing", "missing"), ("Would have to change", "change"), ("Looked for", "looked_for"))
    shown = ((title, [s for s in found[name] if s != record.get("reason")]) for title, name in titles)
    return '<div class="refusal">' + "".join(_column(title, said) for title, said in shown if said) + "</div>"


def _column(title: str, sentences: Iterable[str]) -> str:
    return f"<div><h2>{title}</h2><ul>{''.join(f'<li>{html.escape(s)}</li>' for s in sentences)}</ul></div>"


def _in_full(record: dict) -> str:
    reason = str(record.get("reason") or "")
    if not reason or _reason(record) == plain(record):
        return ""
    return f'<details class="reason"><summary>the reason in full</summary>{html.escape(reason)}</details>'


def figures(record: dict) -> Iterator[tuple[str, str]]:
    """Label and text of a run's levels and of its figures out of sample; dashes where there are none."""
    ok = record.get("status") == "ok"
    metrics, line = (record.get(name) or {} if ok else {} for name in ("metrics", "line"))
    ways = ("", "reverse_")
    for label in ("Entry bps", "Exit bps"):
        levels = [metrics.get(f"{way}{label.lower().replace(' ', '_')}") for way in ways]
        texts = [number(level, ".1f") for level in (levels if levels[1] is not None else levels[:1])]
        yield label, " / ".join(texts) if levels != [None, None] else DASH
    for label, name, form in FIGURES:
        yield label, number(line.get(name), form) if form else usdt(line.get(name))


def number(value: object, form: str) -> str:
    """A figure as text, an em dash where there is none; true minus sign, so that columns align, and never minus zero."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return DASH
    text = format(value, form)
    return text.replace("-", "−") if text.strip("-+0.,") else text.replace("-", "").replace("+", "")


def counted(count: int, of: str) -> str:
    return f"{count} {of}{'s' * (count != 1)}"


def span(days: float | None) -> str:
    return DASH if days is None else seconds(days * DAY_S)


def tiles(shown: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<div><dt>{label}</dt><dd>{value}</dd></div>" for label, value in shown)


def page_label(stem: str) -> str:
    return PAGE_LABELS.get(stem[:2], stem.split("_", 1)[-1].replace("_", " "))


def time_element(stamp: str) -> str:
    return f"<time>{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]}</time>"


def result(record: dict) -> str:
    """The verdict of a run that ended well, else its status; thresholds of one's own that nobody published have none."""
    if record.get("status") == "ok":
        by_hand = not record.get("trade") and (record.get("candidate") or {}).get("chosen") == BY_HAND
        return '<span class="pill">by hand</span>' if by_hand else verdict(record.get("trade"))
    return f'<span class="pill failed">{html.escape(str(record.get("status")))}</span>'


def verdict(trade: object) -> str:
    return '<span class="pill yes">trade</span>' if trade else '<span class="pill no">do not trade</span>'


def mark_pills(record: dict) -> str:
    """What must be said of the quotes behind a run, wherever its pair is named."""
    return "".join(
        f' <span class="pill synthetic" title="{hint}">{mark}</span>'
        for mark, hint in HINTS.items()
        if record.get(mark)
    )
