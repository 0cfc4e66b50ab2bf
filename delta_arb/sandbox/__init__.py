"""Two small exchanges on 127.0.0.1 that speak the real wire protocols: MEXC spot and Gate.io USDT futures.

For tests, for fault drills, and for rehearsing live trading without keys: genuine ccxt clients connect by
configuration alone. `python -m delta_arb.sandbox` starts both. Nothing here is imported by `delta_arb.live`.

Limits, on purpose: prices stay as on the tape, so our own orders move nothing but the size shown until the next
quote of that leg. Behind the best price stand the recorded levels, or a stated profile (`--behind`).
"""
