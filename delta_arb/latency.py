"""How long an order takes to its venue: always a table of (ts_ns, latency_ns), of which the row in force when it is sent counts.

A constant is one row. A distribution is drawn once for every second of the clock, lognormal by its median and its
99th percentile; the draw of a second depends on the seed and on that second alone, so every slice of a tape meets the
same latencies. A recording is taken as it is. Nothing fills at once: a latency is never zero.

    0.1          constant, seconds from a quote at the venue to our order arriving there (feed plus order)
    0.1~0.4      median and 99th percentile
    FILE         Parquet or CSV with the columns timestamp and latency_s
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from delta_arb.errors import DataError, ParamsError
from delta_arb.market import LEGS, NS

HOUR_S = 3600
Z99 = 2.3263478740408408  # standard normal quantile of 0.99
LONGEST_P99 = 3.0  # draws are cut at this many times the 99th percentile, so that a deadline can be above them


class Delays(NamedTuple):
    """One venue's latencies over time: rising stamps, and the latency from each of them on."""

    ts_ns: Sequence[int]
    latency_ns: Sequence[int]


@dataclass(frozen=True, slots=True)
class Delay:
    """The latency of one leg: a constant (`p99_s` 0), a distribution, or what was recorded; `median_s` in any case."""

    median_s: float
    p99_s: float = 0.0
    seed: int = 0
    recorded: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    @property
    def longest_s(self) -> float:
        """No order takes longer."""
        if self.recorded:
            return max(self.recorded[1]) / NS
        return max(self.median_s, LONGEST_P99 * self.p99_s)

    def between(self, start_ns: int, end_ns: int) -> Delays:
        """The table that covers [start, end]."""
        if self.recorded:
            return Delays(*(np.array(column, np.int64) for column in self.recorded))
        if self.p99_s == 0.0:
            return Delays(np.array([0]), np.array([round(self.median_s * NS)]))
        hours = range(start_ns // (HOUR_S * NS), end_ns // (HOUR_S * NS) + 1)
        seconds = np.arange(hours[0] * HOUR_S, (hours[-1] + 1) * HOUR_S, dtype=np.int64)
        return Delays(seconds * NS, np.concatenate([_drawn(self, hour) for hour in hours]))

    def times(self, factor: float) -> "Delay":
        """The same, every order a factor slower; the draws stay what they were."""
        recorded = self.recorded and (self.recorded[0], tuple(round(factor * ns) for ns in self.recorded[1]))
        return Delay(factor * self.median_s, factor * self.p99_s, self.seed, recorded)

    def __str__(self) -> str:
        if self.recorded:
            return f"as recorded, {self.median_s:.3g} s in the median"
        return f"{self.median_s:g} s" + (f" (one in a hundred after {self.p99_s:g} s)" if self.p99_s else "")


@functools.lru_cache(maxsize=64)
def _drawn(delay: Delay, hour: int) -> np.ndarray:
    """The latencies of an hour's seconds, ns."""
    sigma = math.log(delay.p99_s / delay.median_s) / Z99
    normal = np.random.default_rng((delay.seed, hour)).standard_normal(HOUR_S)
    seconds = np.minimum(delay.median_s * np.exp(sigma * normal), delay.longest_s)
    return np.maximum((seconds * NS).astype(np.int64), 1)


@dataclass(frozen=True, slots=True)
class Latency:
    """Both legs' latencies by their median in seconds; `spot` and `perp` where they are more than a constant."""

    spot_s: float
    perp_s: float
    spot: Delay | None = None
    perp: Delay | None = None

    def __post_init__(self) -> None:
        for leg in LEGS:
            for name, value in (
                (f"{leg}_s", getattr(self, f"{leg}_s")),
                (f"{leg} at its longest", self.delay(leg).longest_s),
            ):
                if not 0 < value <= 60:
                    raise ParamsError(
                        f"latency {name} must be above 0 and at most 60 s, was {value:g}; nothing fills at once"
                    )

    def delay(self, leg: str) -> Delay:
        return getattr(self, leg) or Delay(getattr(self, f"{leg}_s"))

    @property
    def longest_s(self) -> float:
        return max(self.delay(leg).longest_s for leg in LEGS)

    def times(self, spot: float, perp: float) -> "Latency":
        """The same, each leg by a factor of its own."""
        legs = (self.spot and self.spot.times(spot), self.perp and self.perp.times(perp))
        return Latency(spot * self.spot_s, perp * self.perp_s, *legs)

    def between(self, leg: int, start_ns: int, end_ns: int) -> Delays:
        """A leg's table over [start, end]."""
        return self.delay(LEGS[leg]).between(start_ns, end_ns)

    def median_ns(self, leg: int) -> int:
        return round(self.delay(LEGS[leg]).median_s * NS)

    def ns(self, leg: int, now_ns: int) -> int:
        """What an order sent now takes."""
        delays = self.between(leg, now_ns, now_ns)
        return int(delays.latency_ns[max(int(np.searchsorted(delays.ts_ns, now_ns, "right")) - 1, 0)])


def latency(spot: str, perp: str) -> Latency:
    """Both legs' latencies as the options say them; the two draw apart."""
    legs = [delay(text, seed) for seed, text in enumerate((spot, perp))]
    return Latency(legs[0].median_s, legs[1].median_s, *legs)


def delay(text: str, seed: int) -> Delay:
    """One leg's latency from its option: `0.1`, `0.1~0.4` or a file."""
    try:
        values = [float(part) for part in text.split("~")]
    except ValueError:
        return recorded(Path(text))
    if len(values) == 2 and not values[0] < values[1]:
        raise ParamsError(f"a latency like 0.1~0.4 is a median and a larger 99th percentile, was {text}")
    if len(values) > 2:
        raise ParamsError(f"a latency is seconds, a median~p99 like 0.1~0.4, or a file; was {text}")
    return Delay(*values, seed=seed) if len(values) == 2 else Delay(values[0])


def recorded(path: Path) -> Delay:
    """Latencies as they were measured: columns timestamp (UTC) and latency_s. Raises DataError."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    if not path.exists():
        raise DataError(f"{path}: no such file of latencies; give seconds, a median~p99 like 0.1~0.4, or a file")
    try:
        table = pyarrow.csv.read_csv(path) if path.suffix == ".csv" else pyarrow.parquet.ParquetFile(path).read()
        stamps = table["timestamp"].cast(pa.timestamp("ns", "UTC")).cast(pa.int64()).to_pylist()
        seconds = table["latency_s"].cast(pa.float64()).to_pylist()
    except (pa.ArrowException, KeyError, OSError) as error:
        raise DataError(
            f"{path}: cannot be read as latencies ({error}); need the columns timestamp and latency_s"
        ) from error
    if not stamps or None in stamps or any(b <= a for a, b in pairwise(stamps)):
        raise DataError(f"{path}: need rows with rising timestamps; sort the file and drop repeats")
    bad = next((k for k, s in enumerate(seconds) if s is None or not 0 < s <= 60), None)
    if bad is not None:
        raise DataError(f"{path}: row {bad} has a latency of {seconds[bad]} s; above 0 and at most 60 s is expected")
    ns = tuple(max(round(s * NS), 1) for s in seconds)
    return Delay(float(np.median(seconds)), recorded=(tuple(stamps), ns))
