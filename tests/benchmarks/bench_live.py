"""The live runner at full speed on a million synthetic events: events a second, and microseconds of decide alone."""

import asyncio
import tempfile
import time
from pathlib import Path

from table import report

from delta_arb import params, synthetic
from delta_arb.inputs import Inputs
from delta_arb.live import replay
from delta_arb.live.journal import Journal
from delta_arb.live.paper import PaperVenue
from delta_arb.live.runner import Runner
from delta_arb.strategy import QUOTE, START, Event, decide

HOURS = 280.0  # about 1e6 events at one row in two seconds and leg


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        quotes = Path(folder) / "quotes"
        synthetic.write(synthetic.make(synthetic.World.sample(hours=HOURS), 11), quotes)
        files = {leg: str(quotes / f"{leg}.parquet") for leg in ("spot", "perp", "funding")}
        inputs = Inputs(**files, pair="SYN_USDT", contract_size=10.0)
        tape = inputs.tape()
        settings = params.RuleParams(entry_bps=15.0, exit_bps=-12.0, max_hold_s=21_600.0, clip_usdt=50.0)
        rule = params.make_rule(settings, *inputs.instruments())
        with Journal(Path(folder) / "journal.sqlite", "bench") as journal:
            venue = PaperVenue(inputs.latency(), (tape.spot_kind, tape.perp_kind), (rule.spot, rule.perp), rule.max_quote_age_ns)
            runner = Runner(rule, journal, venue, inputs.payments(tape))
            began = time.perf_counter()
            asyncio.run(replay.run(tape, runner, venue, asyncio.Event()))
            seconds = time.perf_counter() - began
    decide_us = decide_microseconds(tape, rule)
    rows = [
        {
            "events": runner.events, "trades": len(runner.trades), "seconds": seconds, "events_per_s": round(runner.events / seconds),
            "seconds_per_1e6": seconds / runner.events * 1e6, "decide_us": decide_us,
        }
    ]  # fmt: skip
    report("live", rows, ("numpy", "pyarrow"), goal="1e6 events in under 60 s; decide at most 20 us", quotes="synthetic")
    assert seconds / runner.events * 1e6 < 60


def decide_microseconds(tape, rule) -> float:
    """Mean time of one decision on quotes while flat, books already made."""
    events = [Event(QUOTE, ts, spot, perp, 0, 0.0, 0.0, 0.0) for ts, _, spot, perp in replay.rows(tape.between(tape.start_ns, tape.start_ns + 10**14))]
    calm = rule._replace(entry=1.0)
    began = time.perf_counter()
    for event in events:
        decide(START, event, calm)
    return (time.perf_counter() - began) / len(events) * 1e6


if __name__ == "__main__":
    main()
