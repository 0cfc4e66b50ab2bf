"""Two small exchanges on 127.0.0.1 that speak the real wire protocols: MEXC spot and Gate.io USDT futures.

For tests, for fault drills, and for rehearsing live trading without keys: genuine ccxt clients connect by
configuration alone. `python -m delta_arb.sandbox` starts both. Nothing here is imported by `delta_arb.live`.

values      listings, orders, trades, events and refusals, in base units and exact decimals
book        what a venue shows and checks: books, marks, public trades, queues, its clock; and who listens
accounts    wallets: spot coins, or a margin account with positions
engine      one spot venue: validates, matches, settles
perpetual   adds positions, funding, liquidation
candles     bars of what was quoted, and of a made past
faults      what goes wrong, when and where, and the log of what did
network     limits of requests, connections, who listens to what, and the delay of the network
http        the aiohttp server of one venue: loopback only, routes, limits, faults
venues      both venues as one value, for tests and for the command, and the feed that plays a tape into them
gate_*, mexc_*  the protocols of the venues: paths, fields, signatures, codes and pushes; nothing else knows them

Limits, on purpose: prices stay as on the tape, so our own orders move nothing but the size shown until the next
quote of that leg. Behind the best price stand the recorded levels, or a stated profile (`--behind`).
"""
