#!/usr/bin/env bash
# mlfinpy 0.1.2: get_yang_zhang_vol on daily bars of a market that never closes (open = the close before).
# Expected: the true deviation of a day's log return, as its own Parkinson and Garman-Klass estimators find it within 3 %.
# Seen: 7 % more. The term "open to close" takes the close of the day over the open of the day BEFORE, two days' move, so that
# its part of the variance is doubled. With the open of the same day it is within 1 %. Stops and sizes set by it are off by as much.
# What to do: compute that term from close and open of one bar, as Yang and Zhang (J. Business 73(3), 2000) do.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlfinpy==0.1.2 scikit-learn==1.5.2 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

import numpy as np
import pandas as pd
from mlfinpy.util.volatility import get_garman_class_vol, get_parksinson_vol, get_yang_zhang_vol

DAYS, MINUTES, STEP = 2000, 1440, 0.001
path = np.exp(np.cumsum(np.random.default_rng(0).normal(0.0, STEP, DAYS * MINUTES))).reshape(DAYS, MINUTES)
close = path[:, -1]
open_ = np.r_[1.0, close[:-1]]
high, low = np.maximum(path.max(axis=1), open_), np.minimum(path.min(axis=1), open_)
open_, high, low, close = (pd.Series(column) for column in (open_, high, low, close))


def mean(volatility):
    return float(np.sqrt((volatility**2).mean()))


true = STEP * MINUTES**0.5
yang = mean(get_yang_zhang_vol(open_, high, low, close)) / true
parkinson = mean(get_parksinson_vol(high, low)) / true
garman = mean(get_garman_class_vol(open_, high, low, close)) / true
k = 0.34 / (1.34 + 21 / 19)
term = float((np.log(close / open_) ** 2).rolling(20).sum().mean() / 19)
mended = np.sqrt(yang**2 - k * (float((np.log(close / open_.shift(1)) ** 2).rolling(20).sum().mean() / 19) - term) / true**2)
print(f"mlfinpy {version('mlfinpy')}, in true deviations of a day: Yang-Zhang {yang:.3f}, Parkinson {parkinson:.3f}, Garman-Klass {garman:.3f}")
print(f"Yang-Zhang with the close over the same day's open: {mended:.3f}")
assert yang > 1.06 and 0.97 < parkinson < 1.01 and 0.95 < garman < 1.01 and mended < 1.03
PY
