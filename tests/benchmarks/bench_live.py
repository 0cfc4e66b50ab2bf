"""The live runner at full speed on a million synthetic events; microseconds of decide alone; seconds from start to decision."""

import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from table import report

from delta_arb import params
from delta_arb.backtest import replay as backtest
from delta_arb.live import replay
from delta_arb.live.event_log import EventLog, events_path
from delta_arb.live.journal import Journal
from delta_arb.live.paper import PaperVenue
from delta_arb.live.quiet_rows import QuietRows
from delta_arb.live.runner import Runner
from delta_arb.quotes import synthetic
from delta_arb.quotes.inputs import Inputs
from delta_arb.strategy import rule as rules
from delta_arb.strategy.decide import decide
from delta_arb.strategy.state import QUOTE, Event, State

HOURS = 280.0  # about 1e6 events at one row in two seconds and leg


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        quotes = Path(folder) / "quotes"
        synthetic.write(synthetic.make(synthetic.World.sample(hours=HOURS), 11), quotes)
        files = {leg: str(quotes / f"{leg}.parquet") for leg in ("spot", "perp", "funding")}
        inputs = Inputs(**files, pair="SYN_USDT", contract_size=10.0)
        tape = inputs.tape()
        settings = params.Rule(entry_bps=15.0, exit_bps=-12.0, max_hold_s=21_600.0, clip_usdt=50.0)
        rule = rules.make_rule(settings, *inputs.terms())
        every_row = patch.object(QuietRows, "passed", lambda _, row: row)
        ways = {
            "runner, quiet rows passed over": lambda: through_runner(tape, rule, inputs, Path(folder) / "quiet"),
            "runner, every row": lambda: through_runner(tape, rule, inputs, Path(folder) / "every"),
            "compiled replay": lambda: len(backtest.run(tape, rule, inputs.latency(), inputs.payments(tape)).trades),
        }
        ways["compiled replay"]()  # compiles
        rows = []
        for way, act in ways.items():
            with every_row if way == "runner, every row" else nullcontext():
                began = time.process_time()
                trades = act()
                us = (time.process_time() - began) / len(tape) * 1e6
            rows.append(
                {"way": way, "events": len(tape), "trades": trades, "us_an_event": us, "events_per_s": 1e6 / us}
            )
        for row in rows:
            row["ratio_to_every_row"] = rows[1]["us_an_event"] / row["us_an_event"]
    decide_us = decide_microseconds(tape, rule)
    report(
        "live", rows, ("numpy", "pyarrow", "numba"), method="processor time of one run each, events and journal written",
        goal="an event in 1 us; decide at most 20 us", decide_us=round(decide_us, 2), quotes="synthetic",
    )  # fmt: skip
    assert rows[1]["us_an_event"] < 60
    assert decide_us <= 20
    report(
        "live_start",
        [start()],
        ("ccxt",),
        goal="first decision in under 3 s, no research library loaded",
        what="--sandbox, a real process",
    )


def through_runner(tape, rule, inputs: Inputs, folder: Path) -> int:
    """How many trades the runner makes of a tape at full speed."""
    path = folder / "journal.sqlite"
    with Journal(path, "bench") as journal, EventLog(events_path(path, "bench"), "bench", State()) as recorder:
        legs = (rule.spot, rule.perp)
        venue = PaperVenue(inputs.latency(), (tape.spot_kind, tape.perp_kind), legs, rule.max_quote_age_ns)
        runner = Runner(rule, journal, venue, inputs.payments(tape), recorder=recorder)
        asyncio.run(replay.run(tape, runner, venue, asyncio.Event()))
    return len(runner.trades)


HEAVY = ("pandas", "matplotlib", "statsmodels", "numba")


def start() -> dict:
    """From the start of the process to its first decision, on local venues that are up already; and what it imports."""
    code = (
        "import sys, delta_arb.live.cli, delta_arb.live.session; print(*(m for m in sys.argv[1:] if m in sys.modules))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not loaded, f"the runner loads {', '.join(loaded)}"
    with tempfile.TemporaryDirectory() as folder:
        publish(Path(folder))
        command = [sys.executable, "-m", "delta_arb.live", "--sandbox", "--reports", folder, "--json"]
        first, first_s = until_started(command)
        first.kill()  # the local venues stay
        first.wait()
        second, second_s = until_started(command)
        second.send_signal(signal.SIGTERM)
        said = json.loads(second.communicate(timeout=60)[0].splitlines()[-1])
    assert second_s < 3, f"{second_s:.2f} s to the first decision"
    return {"with_venues_s": first_s, "to_first_decision_s": second_s, "events": said["events"]}


def until_started(command: list[str]) -> tuple[subprocess.Popen, float]:
    """The runner, once it says that it trades: its first decision was before."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "started flat" in line or "resumed pair" in line or "settled and flat" in line:
            return process, time.perf_counter() - began
    raise AssertionError(f"it ended: {process.wait()}")


def publish(reports: Path) -> None:
    """Parameters of the sample, valid for an hour."""
    inputs, now = Inputs(), datetime.now(UTC)
    spot, perp = inputs.terms()
    rule = params.Rule(entry_bps=15.0, exit_bps=-12.0, max_hold_s=21_600.0, clip_usdt=50.0)
    exported = params.sealed(
        pair=inputs.pair, trade=True, reason="a benchmark", rule=rule, spot=spot, perp=perp,
        data=inputs.data_params(inputs.tape(), None),
        evidence=params.Evidence(), created=now, valid_until=now + timedelta(hours=1), code_version="bench",
        notebook="none", run_id="bench",
    )  # fmt: skip
    params.publish(exported, reports)


def decide_microseconds(tape, rule) -> float:
    """Mean time of one decision on quotes while flat, books already made."""
    events = [
        Event(QUOTE, ts, spot, perp, 0, 0.0, 0.0, 0.0)
        for ts, _, spot, perp in replay.rows(tape.between(tape.start_ns, tape.start_ns + 10**14))
    ]
    calm = rule._replace(entry=1.0)
    began = time.perf_counter()
    for event in events:
        decide(State(), event, calm)
    return (time.perf_counter() - began) / len(events) * 1e6


if __name__ == "__main__":
    main()
