#!/usr/bin/env bash
# apscheduler 3.11.3: an interval of 8 hours with a jitter of 60 seconds, documented as the most that a run is delayed, for a job
# that must have run before each funding settlement: first at 23:50 UTC, ten minutes ahead.
# Expected: each run between 23:50:00 and 23:51:00, 07:50:00 and 07:51:00, and so on.
# Seen: each run is counted from the one before, its jitter included, so that the delays add up: half a minute a run, past the
# settlement after a week, and two and a quarter hours late after ninety days. The cron trigger with the same jitter
# stays within the minute.
# What to do: the cron trigger (hour="7,15,23", minute=50, timezone="UTC"), or no jitter.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check apscheduler==3.11.3 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import random
from datetime import datetime, timedelta, timezone
from importlib.metadata import version

from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

FIRST = datetime(2026, 1, 1, 23, 50, tzinfo=timezone.utc)
triggers = {
    "interval": IntervalTrigger(hours=8, start_date=FIRST, timezone=timezone.utc, jitter=60),
    "cron": CronTrigger(hour="7,15,23", minute=50, timezone=timezone.utc, jitter=60),
}
late = {}
for name, trigger in triggers.items():
    random.seed(1)
    run, late[name] = None, []
    for i in range(271):  # as the scheduler asks: the run before, and the time at which it ran
        run = trigger.get_next_fire_time(run, run or FIRST - timedelta(minutes=1))
        late[name].append((run - FIRST - i * timedelta(hours=8)).total_seconds())
    missed = next((i for i, seconds in enumerate(late[name]) if seconds > 600), None)
    print(f"apscheduler {version('apscheduler')}, {name}: late by {late[name][0]:.0f} s at first, {late[name][21]:.0f} s after a week, "
          f"{late[name][-1] / 3600:.2f} h after 90 days; first run behind its settlement: {missed}")
assert max(late["cron"]) <= 60
assert late["interval"][21] > 600 and abs(late["interval"][-1] - 271 * 30) < 600
PY
