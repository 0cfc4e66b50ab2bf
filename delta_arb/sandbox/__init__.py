"""Two small exchanges on 127.0.0.1 that speak the real wire protocols: MEXC spot and Gate.io USDT futures.

For tests, for fault drills, and for rehearsing live trading without keys: genuine ccxt clients connect by
configuration alone. `python -m delta_arb.sandbox` starts both. Nothing here is imported by `delta_arb.live`.

values      listings, orders, trades, events and refusals, in base units and exact decimals
rules       what is checked before an order is accepted
book        the levels shown, and the size that our own orders took from them
display     what a venue shows and whom it tells; its clock
accounts    wallets: spot coins, or a margin account with positions
engine      one venue: validates, matches, settles; perpetual adds positions, funding, liquidation
candles     bars of what was quoted
faults      what goes wrong, when and where, and the log of what did
wire        what a face and the server say to each other
websocket   websocket connections, and who listens to what
http        the aiohttp rim: loopback only, routing, fault hooks
feed        plays a tape into both engines
venues      both venues as one value, for tests and for the command
gate_*, mexc_*  the venues' faces: their paths, fields, signatures, codes and pushes; nothing else knows them

Limits, on purpose: prices stay as on the tape, so our own orders move nothing but the size shown until the next
quote of that leg; a tape has one level a side; public trades are our own fills.
"""
