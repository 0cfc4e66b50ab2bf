#!/usr/bin/env bash
# hurst-calc 0.1.4: hurst_exponent, mean_price and calc_max on a frame whose only column is called "BTC-USD", "ETH-USD", "SOL-USD" or
# "XRP-USD", the names that Yahoo gives to the coins.
# Expected: numbers of the data. Seen: the same numbers whatever the data are: 0.57002357 for bitcoin, 0.4029 for ripple, a mean price
# of 85955.35; they are written into the functions. A random walk, a straight line and white noise have one exponent, and a filter
# "below 0.5 reverts to the mean" always lets ripple pass. Under any other name the same column gives two numbers, slope and intercept.
# What to do: rename the column, take the first of the two, or use another package.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check hurst-calc==0.1.4 numpy==2.2.6 pandas==2.3.3 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
from importlib import import_module
from importlib.metadata import version

import numpy as np
import pandas as pd

hurst = import_module("hurst_calc.hurst")
noise = np.random.default_rng(1).normal(size=1000)
paths = {"white noise": 100 + noise, "a random walk": 100 + np.cumsum(noise), "a straight line": 100.0 + np.arange(1000)}
seen = {}
for name, path in paths.items():
    row = [hurst.hurst_exponent(pd.DataFrame({coin: path}), coin) for coin in ("BTC-USD", "XRP-USD")]
    frame = pd.DataFrame({"BTC-USD": path})
    row += [hurst.mean_price(frame, "BTC-USD"), hurst.calc_max(frame, "BTC-USD")]
    other = hurst.hurst_exponent(pd.DataFrame({"X": path}), "X")
    seen[name] = row
    print(f"hurst-calc {version('hurst-calc')}, {name}, mean {path.mean():.2f}: as BTC-USD {row[0]}, as XRP-USD {row[1]}, mean {row[2]}, highest {row[3]}; as X {np.round(other, 2)}")
assert all(row == [0.57002357, 0.4029, 85955.35, 86939.59] for row in seen.values()), seen
PY
