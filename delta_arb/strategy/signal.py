"""The basis without its noise, one quote at a time: the signal that a noisy trigger needs.

A threshold on the raw basis is touched by the noise (ticks, bounce, legs that print at different moments) long before
the basis is there, and the fill comes after the noise has gone. The filter of an Ornstein-Uhlenbeck process under white
noise says where the basis is; `shift` is what has to be added to a raw edge or cost so that it speaks of that basis.

`step` is plain Python over scalars: the backtest compiles it over a column, the runner calls it for every quote, and
both decide on the same bits. Observations closer together than `step_s`, the grid that the process was fitted on, are
not independent (one leg still shows its old tick), so the estimate takes in at most one per step.
"""

import math
from typing import NamedTuple

from delta_arb.market import NS, Book, tradable


class Filter(NamedTuple):
    """The process: fractions and seconds. `noise_sd` 0 switches the filter off: the raw basis is the signal.

    Books older than `max_age_ns` teach nothing: a leg that stands still makes a basis of its own.
    """

    theta: float
    mean: float
    sd: float
    noise_sd: float
    step_s: float
    max_age_ns: int = 2**62


class Estimate(NamedTuple):
    """What is known at `ts_ns`, the last observation taken in: level of the basis and its variance."""

    ts_ns: int
    level: float
    variance: float


OFF = Filter(0.0, 0.0, 0.0, 0.0, 0.0)
UNKNOWN = Estimate(-1, 0.0, 0.0)


def step(known: Estimate, ts_ns: int, spot: Book, perp: Book, process: Filter) -> tuple[Estimate, float]:
    """The estimate after one quote, and the shift: expected level now minus the basis of the mids.

    A book that is old, crossed or withdrawn teaches nothing and shifts nothing; no decision is made on it anyway.
    """
    if process.noise_sd == 0.0 or not tradable(spot) or not tradable(perp):
        return known, 0.0
    if ts_ns - min(spot.fresh_ns, perp.fresh_ns) > process.max_age_ns:
        return known, 0.0
    spot_mid = 0.5 * (spot.bid + spot.ask)
    observed = (0.5 * (perp.bid + perp.ask) - spot_mid) / spot_mid
    level, variance = process.mean, process.sd * process.sd
    if known.ts_ns >= 0:
        elapsed_s = (ts_ns - known.ts_ns) / NS
        kept = math.exp(-process.theta * elapsed_s)
        level = process.mean + kept * (known.level - process.mean)
        if elapsed_s < process.step_s:
            return known, level - observed
        variance = kept * kept * known.variance + (1.0 - kept * kept) * process.sd * process.sd
    gain = variance / (variance + process.noise_sd * process.noise_sd)
    known = Estimate(ts_ns, level + gain * (observed - level), (1.0 - gain) * variance)
    return known, known.level - observed
