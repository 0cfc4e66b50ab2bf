#!/usr/bin/env bash
# finta 1.3: TA.STOCHRSI, the stochastic RSI: where the RSI stands between its lowest and highest of the last 14 bars.
# Expected: a value of a past bar stays as it is when later bars come.
# Seen: all of them change, since the lowest and highest are taken over the whole history that is handed over, the future included
# (only the smoothing is over 14 bars): of 200 bars 186 have a value, and each is another one once 100 more bars are known. A
# backtest that buys where it is low compares every bar with the lows still to come; live it sees other values than it was tested on.
# What to do: the RSI's rolling(14).min() and .max() oneself; and try every indicator on a history cut short, as here.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check finta==1.3 pandas==2.3.3 numpy==2.2.6 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import warnings
from importlib.metadata import version

import numpy as np
import pandas as pd
from finta import TA

warnings.simplefilter("ignore")
rng = np.random.default_rng(1)
close = pd.Series(100 + np.cumsum(rng.normal(size=300)), index=pd.date_range("2026-01-01", periods=300, freq="h"))
bars = pd.DataFrame({"open": close.shift(1).fillna(100), "high": close + 1, "low": close - 1, "close": close, "volume": rng.uniform(1, 2, 300)})


def changed(indicator, known=200):
    early, late = indicator(bars.iloc[:known].copy()), indicator(bars.copy()).iloc[:known]
    return int((~np.isclose(early, late, equal_nan=True)).sum()), int(early.notna().sum())


def own(bars):
    rsi = TA.RSI(bars)
    low, high = rsi.rolling(14).min(), rsi.rolling(14).max()
    return ((rsi - low) / (high - low)).rolling(14).mean()


found = {name: changed(indicator) for name, indicator in {"RSI": TA.RSI, "STOCHRSI": TA.STOCHRSI, "own STOCHRSI": own}.items()}
print(f"finta {version('finta')}, 200 bars, then 100 more:")
for name, (others, values) in found.items():
    print(f"  {name}: {values} values, {others} of the first 200 bars changed")
assert found["RSI"][0] == found["own STOCHRSI"][0] == 0
assert found["STOCHRSI"] == (186, 186)
PY
