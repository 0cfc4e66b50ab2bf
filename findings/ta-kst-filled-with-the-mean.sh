#!/usr/bin/env bash
# ta 0.11.0: KSTIndicator (know sure thing), with fillna=False, its default.
# Expected: no value before bar 44 (counted from 0), where a change over 30 bars has been smoothed over 15, and none that later bars
# change.
# Seen: a value from bar 14 on. Where the price of 10 to 30 bars ago does not exist yet, the mean of the whole series stands in for
# it, the future included: on a coin that stands at 100 and goes to 150 later, bar 14 reads -136 instead of 0, and 30 values are
# others than those computed without the later bars. A walk-forward fold that starts there, or a coin listed inside the sample, is
# judged by what it does next.
# What to do: drop the values before bar 44, or use pct_change(r).rolling(n).mean() with the weights 1 to 4.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ta==0.11.0 pandas==2.3.3 numpy==2.2.6 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

import numpy as np
import pandas as pd
from ta.trend import KSTIndicator

rng = np.random.default_rng(1)
flat, rise = 100 + rng.normal(size=100) * 0.1, np.linspace(100, 150, 200)
close = pd.Series(np.concatenate([flat, rise]))


def plain(close):
    return 100 * sum(weight * close.pct_change(r).rolling(n).mean() for weight, (r, n) in enumerate([(10, 10), (15, 10), (20, 10), (30, 15)], 1))


early, late = KSTIndicator(close.iloc[:100]).kst(), KSTIndicator(close).kst().iloc[:100]
right = plain(close).iloc[:100]
changed = ~np.isclose(early, late, equal_nan=True)
first = late.first_valid_index()
print(f"ta {version('ta')}: first value at bar {first}, by the formula at bar {right.first_valid_index()}")
print(f"at bar {first}: {early[first]:.1f} with the first 100 bars only, {late[first]:.1f} with the 200 later ones; values changed: {changed.sum()}")
print(f"at bar 60: {late[60]:.2f}, by the formula {right[60]:.2f}")
assert changed.sum() == 30 and first == 14 and late[first] < -100 and abs(early[first]) < 5
assert right.first_valid_index() == 44 and np.allclose(late[44:], right[44:])
PY
