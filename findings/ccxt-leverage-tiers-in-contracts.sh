#!/usr/bin/env bash
# ccxt 4.5.90: minNotional and maxNotional of the leverage tiers of BTC/USDT:USDT, with the `currency` they are in, on Gate, OKX and
# MEXC. On each the first tier reaches to 900,000 USDT of position here, at a maintenance margin of 0.4 %, the second to twice that at 1 %.
# Expected: 900,000 and 1,800,000 USDT. Seen so on Gate; on OKX 1000 and 2000, on MEXC 100,000 and 200,000 "USDT": contracts, of 0.01
# and 0.0001 BTC. A position of 150,000 USDT lies in the first tier; looked up it lies behind the last one on OKX and in the
# second on MEXC, so that its margin and liquidation price are those of another position, or none are found.
# What to do: multiply both by contractSize and the price before a lookup on OKX and MEXC.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

plain = {
    "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT", "settle": "USDT", "settleId": "usdt", "type": "swap", "spot": False, "margin": False,
    "swap": True, "future": False, "option": False, "contract": True, "linear": True, "inverse": False, "active": True,
    "precision": {}, "limits": {}, "info": {},
}
PRICE, FIRST, HELD = 90_000, 900_000, 150_000


def client(venue, id, size, info=None):
    made = getattr(ccxt, venue)()
    made.set_markets([plain | {"id": id, "contractSize": size, "info": info or {}}])
    return made


gate = client("gate", "BTC_USDT", 0.0001)
gate.publicFuturesGetSettleRiskLimitTiers = lambda request: [
    {"maintenance_rate": "0.004", "tier": 1, "initial_rate": "0.01", "leverage_max": "100", "risk_limit": str(FIRST), "contract": "BTC_USDT"},
    {"maintenance_rate": "0.01", "tier": 2, "initial_rate": "0.02", "leverage_max": "50", "risk_limit": str(2 * FIRST), "contract": "BTC_USDT"}]
okx, contracts = client("okx", "BTC-USDT-SWAP", 0.01, {"instFamily": "BTC-USDT"}), round(FIRST / PRICE / 0.01)
okx.publicGetPublicPositionTiers = lambda request: {"code": "0", "data": [
    {"tier": "1", "minSz": "0", "maxSz": str(contracts), "mmr": "0.004", "imr": "0.01", "maxLever": "100", "instFamily": "BTC-USDT", "uly": "BTC-USDT", "instId": ""},
    {"tier": "2", "minSz": str(contracts), "maxSz": str(2 * contracts), "mmr": "0.01", "imr": "0.02", "maxLever": "50", "instFamily": "BTC-USDT", "uly": "BTC-USDT", "instId": ""}]}
mexc, step = client("mexc", "BTC_USDT", 0.0001), str(round(FIRST / PRICE / 0.0001))
tiers = {
    "gate": gate.fetch_market_leverage_tiers("BTC/USDT:USDT"),
    "okx": okx.fetch_market_leverage_tiers("BTC/USDT:USDT"),
    "mexc": mexc.parse_market_leverage_tiers({
        "symbol": "BTC_USDT", "quoteCoin": "USDT", "contractSize": 0.0001, "maintenanceMarginRate": "0.004", "initialMarginRate": "0.01", "maxLeverage": 100,
        "maxVol": str(2 * int(step)), "riskBaseVol": step, "riskIncrVol": step, "riskIncrMmr": "0.006", "riskIncrImr": "0.01"}, mexc.market("BTC/USDT:USDT")),
}
seen, found = {}, {}
for venue, rows in tiers.items():
    seen[venue] = [float(row["maxNotional"]) for row in rows]
    found[venue] = next((float(row["maintenanceMarginRate"]) for row in rows if float(row["minNotional"]) <= HELD < float(row["maxNotional"])), None)
    print(f"ccxt {ccxt.__version__}, {venue}: tiers up to {seen[venue]} {rows[0]['currency']}; the rate of a position of {HELD:,} USDT: {found[venue]}")
assert {rows[0]["currency"] for rows in tiers.values()} == {"USDT"}
assert seen == {"gate": [900_000, 1_800_000], "okx": [1000, 2000], "mexc": [100_000, 200_000]}, seen
assert found == {"gate": 0.004, "okx": None, "mexc": 0.01}, found
PY
