#!/usr/bin/env bash
# nautilus_trader 1.221.0: QuoteTickDataWrangler on quotes that are finer than the price precision of the instrument they are
# given with (two listings of one coin often differ in it).
# Expected: a refusal, or the prices as they are. Seen: they are rounded to the instrument's precision without a word: a spread
# of 2 becomes a locked book, and a quote of a small coin becomes 0.00.
# What to do: compare the decimals of the file with the instrument before handing it over.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nautilus_trader==1.221.0 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

import pandas as pd
from nautilus_trader.persistence.wranglers import QuoteTickDataWrangler
from nautilus_trader.test_kit.providers import TestInstrumentProvider

instrument = TestInstrumentProvider.ethusdt_binance()  # two decimals
quotes = pd.DataFrame(
    {"bid_price": [1000.1290, 0.000123], "ask_price": [1000.1310, 0.000125], "bid_size": [1.0, 1.0], "ask_size": [1.0, 1.0]},
    index=pd.to_datetime(["2026-01-01", "2026-01-02"], utc=True),
)
ticks = QuoteTickDataWrangler(instrument).process(quotes)
for tick in ticks:
    print(f"nautilus_trader {version('nautilus_trader')}: bid {tick.bid_price}, ask {tick.ask_price}")
assert [str(tick.bid_price) for tick in ticks] == [str(tick.ask_price) for tick in ticks] == ["1000.13", "0.00"]
PY
