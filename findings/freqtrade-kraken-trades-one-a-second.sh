#!/usr/bin/env bash
# freqtrade 2026.9: convert-trade-data from kraken_csv, its import of Kraken's complete files of trades (time in seconds, price,
# amount; no id). Here five trades of 0.1 BTC in each second of a minute, each a dollar above the one before.
# Expected: 300 trades; a candle of 30 BTC from 90000 to 90299.
# Seen: 60 trades, a candle of 6 BTC from 90000 to 90295. Rows of one stamp count as doubles, since the id that should tell them
# apart is filled with nothing: the first trade of a second stays, the rest is dropped without a word. The busier the market, the
# more is missing: a sweep that reaches a stop, the volume that a size is taken from.
# What to do: make the candles from the CSV oneself (time, price, amount is all they need), or give each row a number as its id.
# (The exchange, which would ask Kraken for its markets, is replaced by the one market; only what the import loads is installed.)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip() { "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "$@" 2>/dev/null; }
pip --no-deps freqtrade==2026.9
pip ccxt==4.5.90 pandas==2.3.3 numpy==2.4.6 scipy==1.17.1 pyarrow==26.0.1 SQLAlchemy==2.1.9 pydantic==2.14.4 jsonschema==4.26.0 rich==15.0.0 \
    cachetools==8.0.2 humanize==4.17.0 python-rapidjson==1.25 orjson==3.13.0 psutil==7.2.2 numexpr==2.14.2 bottleneck==1.6.0 schedule==1.2.2 pycoingecko==3.2.0
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
from pathlib import Path

import freqtrade
from freqtrade.data.converter import trade_converter_kraken, trades_to_ohlcv
from freqtrade.data.history import get_datahandler
from freqtrade.enums import TradingMode

folder, start = Path(sys.argv[1]), 1790000040
rows = [(start + i // 5, 90000 + i, 0.1) for i in range(300)]
(folder / "trades_csv").mkdir()
(folder / "trades_csv/XBTUSD.csv").write_text("".join(f"{time},{price},{amount}\n" for time, price, amount in rows))


class Kraken:
    markets = {"BTC/USD": {"symbol": "BTC/USD", "altname": "XBTUSD"}}


trade_converter_kraken.ExchangeResolver.load_exchange = lambda *rest, **more: Kraken()
trade_converter_kraken.import_kraken_trades_from_csv({"exchange": {"name": "kraken"}, "datadir": folder}, "feather")
trades = get_datahandler(folder, data_format="feather").trades_load("BTC/USD", TradingMode.SPOT)
candle = trades_to_ohlcv(trades, "1m").iloc[0]
print(f"freqtrade {freqtrade.__version__}: {len(rows)} trades in the file, {len(trades)} kept")
print(f"candle: open {candle.open:.0f}, high {candle.high:.0f}, close {candle.close:.0f}, volume {candle.volume:.1f} of {sum(row[2] for row in rows):.1f}")
assert len(trades) == 60 and abs(candle.volume - 6) < 1e-9 and candle.high == candle.close == 90295
PY
