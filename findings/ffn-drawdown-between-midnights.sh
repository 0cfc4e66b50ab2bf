#!/usr/bin/env bash
# ffn 1.4.1, which bt 1.4.1 reports with: calc_stats of hourly prices of a market that never closes, 90 days that rise from 100 by
# a cent an hour, and in them six hours at 40, from 10:00 to 16:00 UTC of one day.
# Expected: the largest fall as ffn's own calc_max_drawdown has it, -63.5 %.
# Seen: 0 % and no entry in the list of drawdowns, a volatility of 0.2 % and a Calmar ratio without end: prices are cut to the last
# one of each UTC day first, whatever their step. bt's report of such a backtest says the same. A carry position that is liquidated
# at noon and worth its price again at midnight was never under water; the strategy with the tightest margin wins the search.
# What to do: calc_max_drawdown(prices) and the volatility of prices.to_returns() oneself.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ffn==1.4.1 bt==1.4.1 pandas==2.3.3 numpy==2.2.6 2>/dev/null
MPLBACKEND=Agg "$folder/venv/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

import bt
import ffn
import numpy as np
import pandas as pd

hours = pd.date_range("2026-01-01", periods=24 * 90, freq="1h")
prices = pd.Series(100.0 + 0.01 * np.arange(len(hours)), index=hours, name="coin")
crash = 24 * 40 + 10
prices.iloc[crash : crash + 6] = 40.0
truth = 40.0 / prices.iloc[crash - 1] - 1
stats = prices.calc_stats()
held = bt.Strategy("held", [bt.algos.RunOnce(), bt.algos.SelectAll(), bt.algos.WeighEqually(), bt.algos.Rebalance()])
report = bt.run(bt.Backtest(held, prices.to_frame(), integer_positions=False, progress_bar=False))
reported = report.stats.loc["max_drawdown", "held"]
print(f"true {truth:.1%}, calc_max_drawdown of ffn {version('ffn')} {prices.calc_max_drawdown():.1%}; its calc_stats {stats.max_drawdown:.1%}, list "
      f"{stats.drawdown_details}, volatility {stats.daily_vol:.1%}, Calmar {stats.calmar}; the report of bt {version('bt')} {reported:.1%}")
assert abs(prices.calc_max_drawdown() - truth) < 1e-9 and round(truth, 3) == -0.635
assert stats.max_drawdown == 0 and stats.drawdown_details is None and stats.daily_vol < 0.01 and np.isinf(stats.calmar) and abs(reported) < 1e-9
PY
