#!/usr/bin/env bash
# dydx-v4-client 1.1.5 (dYdX's own client): Market.calculate_quantums and calculate_subticks, which turn the size and price of every
# order into the chain's whole numbers; here of BTC-USD (a step of 0.0001 BTC) and SOL-USD (a tick of 0.001).
# Expected: a size and a price that are whole steps stay as they are; a size below one step is refused.
# Seen: 0.0003 BTC becomes 0.0002, a third less; 0.0006 becomes 0.0005: the product is 2999999.9999999995, and it is rounded down.
# So it is for 1010 of the first 20,000 steps, and an order to sell at 0.071 goes to 0.070. A hedge is left with a leg too short,
# and a position that should be closed stays open by a step. A size of 0, or of 0.00004, becomes 0.0001: an order nobody asked for.
# What to do: hand over Decimal arithmetic's result plus half a step, or set quantums of the order oneself, and never call it with 0.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dydx-v4-client==1.1.5 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
from decimal import Decimal
from importlib.metadata import version

from dydx_v4_client.node.market import Market

STEP, UNIT = 1_000_000, 10**10
market = Market({"clobPairId": "0", "atomicResolution": -10, "stepBaseQuantums": STEP, "quantumConversionExponent": -9, "subticksPerTick": 100_000})
seen = {size: market.calculate_quantums(size) / UNIT for size in (0.0002, 0.0003, 0.0006, 0.0012, 0.0, 0.00004)}
print(f"dydx-v4-client {version('dydx-v4-client')}, BTC-USD, steps of 0.0001 BTC:")
print(*(f"  {asked:g} BTC is sent as {sent:g}" for asked, sent in seen.items()), sep="\n")
short = [k for k in range(1, 20_001) if market.calculate_quantums(float(Decimal(k) / 10_000)) != k * STEP]
assert all(market.calculate_quantums(float(Decimal(k) / 10_000)) == (k - 1) * STEP for k in short)
sol = Market({"clobPairId": "5", "atomicResolution": -7, "stepBaseQuantums": STEP, "quantumConversionExponent": -9, "subticksPerTick": 100_000})
tick = 100_000 / 10**8  # quote has 6 decimals: 10 ** (-7 + 9 + 6) subticks are one dollar
price = sol.calculate_subticks(0.071) / 10**8
print(f"  {len(short)} of the first 20,000 steps lose one; SOL-USD, ticks of {tick:g}: a price of 0.071 is sent as {price:g}")
assert seen == {0.0002: 0.0002, 0.0003: 0.0002, 0.0006: 0.0005, 0.0012: 0.0011, 0.0: 0.0001, 0.00004: 0.0001}, seen
assert len(short) == 1010 and round(price, 9) == 0.07
PY
