"""What notebook 01 shows of a recording as tables: distributions, episodes above costs, estimates against the truth."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from delta_arb.errors import SeriesError
from delta_arb.market import NS
from delta_arb.quotes.tape import Tape
from delta_arb.stats.basis import KNOWN_S, Basis, above_costs, above_median, reach, seen_s
from delta_arb.stats.mean_reversion import MeanReversion, interval
from delta_arb.tables import NOTHING, Findings, Table, number, seconds, share

SHOWN = ("p1", "p5", "p25", "p50", "p75", "p95", "p99")


def percentiles(basis: Basis) -> Table:
    """Mean, standard deviation and percentiles of the three columns, bps."""
    try:
        rows = [
            (name.replace("_", " "), number(d.mean, 1), number(d.sd, 1), *(number(getattr(d, p), 1) for p in SHOWN))
            for name, d in basis.distributions().items()
        ]
    except SeriesError as error:
        return Table.of("Distribution in time, bps", ("", "no answer"), [("all", str(error))])
    note = (
        "Each value counts for the time it was in force. The edges count only while both books were at most "
        f"{basis.max_quote_age_s:g} s old; "
        f"the basis while both were confirmed within {KNOWN_S:g} s."
    )
    return Table.of("Distribution in time, bps", ("", "mean", "sd", *(f"{p[1:]} %" for p in SHOWN)), rows, note)


def episodes(basis: Basis, latency_s: float) -> Table:
    """Episodes above costs: how many, how long, how many outlast the way of an order."""
    found = above_costs(basis)
    span_s = (basis.ts_ns[-1] - basis.ts_ns[0]) / NS
    rows = [
        (
            name,
            number(e.level, 1),
            f"{e.count:,}",
            share(e.durations_s.sum() / span_s, 1),
            seconds(e.median_s),
            seconds(e.p90_s),
            seconds(e.longest_s),
            share(float(np.mean(e.durations_s > latency_s)) if e.count else None),
        )
        for name, e in found.items()
    ] or [("no event has fresh books on both legs", *[NOTHING] * 7)]
    columns = (
        "opening pays the fees and",
        "entry edge from, bps",
        "episodes",
        "of the time",
        "median",
        "90 %",
        "longest",
        f"outlast {latency_s:g} s",
    )
    note = (
        f"Seen at the events with both books at most {basis.max_quote_age_s:g} s old. An episode ends with the first "
        f"one below the level, or when {seen_s(basis):g} s bring none."
    )
    return Table.of("Episodes above costs", columns, rows, note)


# --- what was put in -------------------------------------------------------------------------------------------------


def put_in(inputs) -> dict | None:
    """The recipe of synthetic quotes; None for real ones."""
    path = Path(inputs.spot).parent / "truth.json"
    return json.loads(path.read_text(encoding="utf-8")) if inputs.synthetic and path.is_file() else None


def against_truth(inputs, found: MeanReversion) -> Table:
    """Estimates beside the recipe of synthetic quotes; for real quotes there is no truth to compare with."""
    title, truth = "Estimates against the truth", put_in(inputs)
    if truth is None:
        return Table.of(title, ("", "put in", "found"), [("no truth is known for these quotes", NOTHING, NOTHING)])
    return Table.of(title, ("", "put in", "found"), _truth_rows(truth, found), _truth_note(truth))


def _truth_rows(truth: dict, found: MeanReversion) -> Sequence[tuple[str, str, str]]:
    world, h = truth["world"], found.half_life.value
    middle = world["mean_bps"] + world["drift_bps_per_day"] * world["hours"] / 48
    put = middle, float(np.hypot(world["fast_sd_bps"], world["slow_sd_bps"])), truth["observed_noise_bps"]
    seen = (h.process.mean, h.process.sd, h.process.noise_sd) if h else (None,) * 3
    names = "mean of the basis", "standard deviation", "noise of the observed basis"
    half_life = f"{seconds(h.half_life_s)} ({interval(h)})" if h else "no answer"
    return (
        ("half-life", seconds(world["fast_half_life_s"]), half_life),
        *(
            (name, _bps(true), "no answer" if value is None else _bps(value))
            for name, true, value in zip(names, put, seen, strict=True)
        ),
    )


def _bps(value: float) -> str:
    return number(value, 1, unit="bps")


def _truth_note(truth: dict) -> str:
    world = truth["world"]
    return (
        f"Put in are two processes: a fast one (sd {world['fast_sd_bps']:g} bps, half-life "
        f"{seconds(world['fast_half_life_s'])}) and a slow one (sd {world['slow_sd_bps']:g} bps, half-life "
        f"{seconds(world['slow_half_life_s'])}), so one half-life fitted to their sum should come out somewhat above "
        "the fast one. The mean put in is that of the middle of the recording."
    )


# --- what was found --------------------------------------------------------------------------------------------------


def findings(tape: Tape, basis: Basis, found: MeanReversion) -> Findings:
    """The notebook's last words, from its results."""
    q, able = tape.quality, reach(basis)
    bad = max(q.spot.bad_share, q.perp.bad_share)
    stale, limit_s = max(q.spot.stale_share, q.perp.stale_share), q.limits.max_quote_age_s
    old = "too old to decide on" if limit_s == basis.max_quote_age_s else f"more than {limit_s:g} s old"
    episodes_ = above_median(basis)
    return Findings.of(
        f"Recording: at most {share(bad, 2)} of a leg's rows are bad; for up to {share(stale)} of the time a book is "
        f"{old}.",
        str(able) if able else "No event has fresh books on both legs: nothing could have been traded.",
        found.verdict,
        f"{episodes_.count:,} episodes pay the fees and a median closing; half of them last "
        f"{seconds(episodes_.median_s)} or less."
        if episodes_ and episodes_.count
        else "No episode pays the fees and a median closing.",
    )
