#!/usr/bin/env bash
# pyfolio-reloaded 0.10.1: round_trips.extract_round_trips, which pairs buys with sells into closed trades, on amounts in coins:
# bought at 100, sold a day later at 110 in one or more pieces.
# Expected: a profit of 10 for each coin.
# Seen: every amount is cut to whole coins, without a word: 19 becomes 10 for 1.9 coins, and half a coin is not listed at all beside
# another trade. The "round trips" of the tear sheet, their profit factor and share of winners, are then those of another account
# than the equity that stands beside them. (1.9 coins sold in halves end in an error.)
# What to do: amounts in the venue's smallest step, as whole numbers, with the price of such a step.
# (Only the module in question is loaded, with what it imports.)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip() { "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "$@" 2>/dev/null; }
pip --no-deps pyfolio-reloaded==0.10.1 empyrical-reloaded==0.7.1
pip pandas==2.3.3 numpy==2.2.6 scipy==1.17.0 matplotlib==3.10.8 ipython==8.38.0 packaging
"$folder/venv/bin/python" - <<'PY'
import sys
import types
import warnings
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

warnings.simplefilter("ignore")
package = types.ModuleType("pyfolio")
package.__path__ = [str(Path(find_spec("pyfolio").origin).parent)]
sys.modules["pyfolio"] = package
from pyfolio.round_trips import extract_round_trips


def orders(symbol, bought, sold):
    first = pd.date_range("2026-03-01", periods=len(bought), freq="min", tz="UTC")
    later = pd.date_range("2026-03-02", periods=len(sold), freq="D", tz="UTC")
    amounts = [*bought, *(-amount for amount in sold)]
    return pd.DataFrame({"amount": amounts, "price": [100.0] * len(bought) + [110.0] * len(sold), "symbol": symbol}, index=first.append(later))


cases = {
    "10 coins": ([10.0], [10.0]), "1.9 coins": ([1.9], [1.9]), "2.5 coins, sold in halves": ([2.5], [1.25, 1.25]),
    "half a coin": ([0.5], [0.5]),
}
other, found = orders("OTHER", [1.0], [1.0]), {}
print(f"pyfolio-reloaded {version('pyfolio-reloaded')}, beside one other trade:")
for name, (bought, sold) in cases.items():
    trips = extract_round_trips(pd.concat([orders("COIN", bought, sold), other]))
    trips = trips[trips.symbol == "COIN"]
    found[name] = round(float(trips.pnl.sum()), 6), len(trips)
    print(f"{name}: profit {found[name][0]:g} of {10 * sum(sold):g}, trades listed {found[name][1]}")
assert list(found.values()) == [(100, 1), (10, 1), (20, 2), (0, 0)]
PY
