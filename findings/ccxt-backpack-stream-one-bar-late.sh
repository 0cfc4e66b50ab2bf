#!/usr/bin/env bash
# ccxt 4.5.90, backpack: the candle of 00:00 to 01:00 UTC as fetch_ohlcv and watch_ohlcv give it.
# Expected: the same row from both, stamped 00:00, where it begins, as ccxt has it everywhere.
# Seen: the stream's row is stamped 01:00, its end (the message says both). Put behind the downloaded candles it leaves a hole at
# 00:00 and stands where the next one belongs, and while the hour runs its row lies in the future. A signal that compares the last
# bar with the same hour of spot, or of another venue, is off by a bar; the bar that is still open looks like the next one.
# What to do: take the length of the timeframe off the stream's stamps.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt
import ccxt.pro

market = {
    "id": "BTC_USDC_PERP", "symbol": "BTC/USDC:USDC", "base": "BTC", "quote": "USDC", "settle": "USDC", "type": "swap", "spot": False, "swap": True,
    "future": False, "option": False, "contract": True, "linear": True, "inverse": False, "contractSize": 1.0, "active": True,
    "precision": {}, "limits": {}, "info": {},
}


class Socket:
    """What handle_message needs of a connection."""

    def resolve(self, found, name):
        self.found = found


rest, stream, socket = ccxt.backpack(), ccxt.pro.backpack(), Socket()
for client in (rest, stream):
    client.set_markets([market])
asked = rest.parse_ohlcv({
    "start": "2025-11-01 00:00:00", "end": "2025-11-01 01:00:00", "open": "90000", "high": "90200", "low": "89900", "close": "90100", "volume": "5",
    "quoteVolume": "450000", "trades": "12",
}, market)
stream.handle_message(socket, {
    "stream": "kline.1h.BTC_USDC_PERP",
    "data": {
        "e": "kline", "E": "1761957000000000", "s": "BTC_USDC_PERP", "t": "2025-11-01T00:00:00", "T": "2025-11-01T01:00:00", "o": "90000",
        "h": "90200", "l": "89900", "c": "90100", "v": "5", "n": 12, "X": False,
    },
})
symbol, timeframe, (heard,) = socket.found
print(f"ccxt {ccxt.__version__}: asked {rest.iso8601(asked[0])}, heard {rest.iso8601(heard[0])}, at 00:30; the rest of the row is alike")
assert (symbol, timeframe) == ("BTC/USDC:USDC", "1h") and asked[1:] == list(heard)[1:]
assert rest.iso8601(asked[0]) == "2025-11-01T00:00:00.000Z" and heard[0] - asked[0] == 3_600_000
PY
