#!/usr/bin/env bash
# ccxt 4.5.90: `amount` of one's own funding payments (fetch_funding_history), of a long of 500,000 USDT at a rate of +0.01 %, which
# pays 50 USDT, as five venues report it.
# Expected: one sign for money paid: -50 everywhere, as ccxt makes it for WOO, whose own number has no sign.
# Seen: -50 for Binance, Gate and WOO, +50 for Bybit and Phemex. Both report a fee, which is positive when paid (Bybit calls it the
# opposite of the `funding` in its transaction log), and it is handed on as it is. Over two venues the costs of one leg are then
# added to the income of the other: a hedge that pays 50 here and earns 50 there shows 100 earned.
# What to do: turn the sign for these two, and compare a day's sum with the change of the wallet.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

NOW, NOTIONAL, RATE = 1761955200000, 500_000, 0.0001
paid = NOTIONAL * RATE
assert paid == 50.0


def ask(venue, id, endpoint, answer):
    client = getattr(ccxt, venue)({"apiKey": "k", "secret": "s", "uid": "u"})
    client.set_markets([{
        "id": id, "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT", "settle": "USDT", "settleId": "usdt", "type": "swap",
        "spot": False, "swap": True, "future": False, "option": False, "contract": True, "linear": True, "inverse": False,
        "contractSize": 1.0, "active": True, "precision": {}, "limits": {}, "info": {},
    }])
    client.options["enableUnifiedAccount"] = True  # asked of Bybit first; the others do not know it
    setattr(client, endpoint, lambda *arguments: answer)
    row, = client.fetch_funding_history("BTC/USDT:USDT")
    return float(row["amount"])


seen = {
    "binance": ask("binanceusdm", "BTCUSDT", "fapiPrivateGetIncome", [
        {"symbol": "BTCUSDT", "incomeType": "FUNDING_FEE", "income": "-50", "asset": "USDT", "time": NOW, "tranId": "1", "info": ""}]),
    "gate": ask("gate", "BTC_USDT", "privateFuturesGetSettleAccountBook", [
        {"time": NOW / 1000, "change": "-50", "balance": "1000", "text": "BTC_USDT", "type": "fund"}]),
    "woo": ask("woo", "PERP_BTC_USDT", "v3PrivateGetFuturesFundingFeeHistory", {"success": True, "data": {"rows": [
        {"id": 1, "symbol": "PERP_BTC_USDT", "fundingRate": RATE, "markPrice": "100000", "fundingFee": "50", "paymentType": "Pay",
         "status": "COMPLETED", "createdTime": NOW, "updatedTime": NOW}]}}),
    "bybit": ask("bybit", "BTCUSDT", "privateGetV5ExecutionList", {"retCode": 0, "result": {"nextPageCursor": "", "list": [
        {"symbol": "BTCUSDT", "execType": "Funding", "execFee": "50", "feeRate": "0.0001", "execValue": "500000", "side": "Buy",
         "execTime": str(NOW), "execId": "1", "execPrice": "100000", "execQty": "5"}]}}),
    "phemex": ask("phemex", "BTCUSDT", "privateGetApiDataGFuturesFundingFees", {"code": 0, "data": {"rows": [
        {"symbol": "BTCUSDT", "currency": "USDT", "execQtyRq": "5", "side": "Buy", "execPriceRp": "100000", "execValueRv": "500000",
         "fundingRateRr": "0.0001", "feeRateRr": "0.0001", "execFeeRv": "50", "createTime": NOW}]}}),
}
for venue, amount in seen.items():
    print(f"ccxt {ccxt.__version__}, {venue}: a long that paid {paid:g} USDT of funding reads {amount:+g}")
assert seen == {"binance": -50, "gate": -50, "woo": -50, "bybit": 50, "phemex": 50}, seen
PY
