#!/usr/bin/env bash
# ccxt 4.5.90: fetch_ledger's row of one funding payment of 50 USDT, after which the balance is 950, from six venues.
# Expected: one form: amount 50, direction "out", before 1000, after 950, as ccxt makes it for Gate and Bitget.
# Seen: on OKX and Bitfinex the amount is -50 beside the "out", on HTX it is -50 without a direction: whoever turns the sign by
# the direction books 50 received there. On Bybit, which says change -50 and cashBalance 950, "before" is 900: an outflow is taken off
# once more instead of being put back (an inflow is right), so that "after - before" calls every fee, loss and funding payment a gain.
# What to do: abs(amount) with the sign of the venue's own change in `info`, and never `before` from Bybit.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

SECOND, after = 1761955200, 950
MS = str(SECOND * 1000)


def rows(change):
    """The same change of the wallet in each venue's words."""
    return {
        "gate": {"time": SECOND, "change": change, "balance": str(after), "text": "BTC_USDT", "type": "fund", "id": "1", "currency": "USDT"},
        "bitget": {
            "billId": "1", "symbol": "BTCUSDT", "amount": change, "fee": "0", "businessType": "contract_settle_fee", "coin": "USDT",
            "balance": str(after), "cTime": MS,
        },
        "okx": {
            "billId": "1", "instId": "BTC-USDT-SWAP", "balChg": change, "bal": str(after), "fee": "0", "ccy": "USDT", "type": "8", "subType": "173",
            "ts": MS,
        },
        "bitfinex": {"result": [1, "USDT", None, SECOND * 1000, None, float(change), float(after), None, "Funding payment"]},
        "htx": {
            "accountId": 1, "currency": "usdt", "transactAmt": change, "transferType": "other-types", "transactId": 1,
            "transactTime": SECOND * 1000,
        },
        "bybit": {
            "id": "1", "symbol": "BTCUSDT", "category": "linear", "side": "Buy", "transactionTime": MS, "type": "SETTLEMENT", "qty": "1",
            "size": "1", "currency": "USDT", "tradePrice": "90000", "funding": change, "fee": "0", "cashFlow": "0", "change": change,
            "cashBalance": str(after), "feeRate": "0.0001", "tradeId": "2", "orderId": "",
        },
    }


seen = {}
for change in ("-50", "50"):
    for name, row in rows(change).items():
        entry = getattr(ccxt, name)().parse_ledger_entry(row)
        seen[name, change] = tuple(entry[field] for field in ("direction", "amount", "before", "after"))
print(f"ccxt {ccxt.__version__}: direction, amount, before, after of a payment of 50 that leaves {after}")
for (name, change), found in seen.items():
    if change == "-50":
        print(f"  {name}: {found}")
print(f"  and of 50 received: bybit {seen['bybit', '50']}")
assert seen["gate", "-50"] == seen["bitget", "-50"] == ("out", 50, 1000, 950)
assert seen["okx", "-50"] == seen["bitfinex", "-50"] == ("out", -50, 1000, 950) and seen["htx", "-50"][:2] == (None, -50)
assert seen["bybit", "-50"] == ("out", 50, 900, 950) and seen["bybit", "50"] == ("in", 50, 900, 950)
PY
