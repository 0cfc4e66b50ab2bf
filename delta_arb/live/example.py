"""`delta-arb live example`: a configuration with every name, its default and its meaning, as a file to begin with.

Where a parameter file is given, pair and venues are what that file assumed, so that the runner takes it as it is.
"""

from delta_arb.params import Params
from delta_arb.venue_terms import VenueTerms

VENUE_NAMES = {
    "venue": "",
    "taker_fee_bps": "assumed in the research; the check compares it with the account's own",
    "latency_s": "assumed from a quote to our order at the venue",
    "maker_fee_bps": "of an order that rested, assumed in the research",
    "contract_size": "base units in one contract; 1 on spot",
    "qty_step": "smallest step of an order, base units",
    "min_qty": "smallest order, base units",
    "min_notional_usdt": "smallest order, USDT",
    "leverage": "of the short; the account's must be at least this",
    "price_tick": "smallest step of a price, 0 where the research did not know it",
    "fee_currency": "what a buyer's fee is taken in: quote (USDT) or base (the coin)",
    "max_leverage": "the largest that the venue allows",
    "maintenance_rate": "margin below which the short is liquidated, 0 where the research did not know it",
}
LUNC = (
    VenueTerms(venue="mexc", min_notional_usdt=1.0),
    VenueTerms(venue="gate", contract_size=10_000.0, qty_step=10_000.0, min_qty=10_000.0),
)
HEAD = """\
# What a trader sets. Names may be left out: the values shown are the defaults, but for pair, venues and clip.
pair = "{pair}"
keys_file = ""               # a file of mode 600 beside this one: [mexc] and [gate], each with key and secret; without
                             # it DELTA_ARB_MEXC_KEY, DELTA_ARB_MEXC_SECRET, ... of the environment
kill_file = "kill"           # in the journal's folder: while it exists, the open pair is left and none is entered
on_restart = "resume"        # or "flatten": what happens to a pair that an earlier run left open
on_stop = "keep"             # or "flatten": what an orderly stop does with an open pair
accept_unbound_keys = false  # true takes keys that work from any address
inventory_coins = {coins!r}        # coins held on spot that reverse pairs are sold out of
inventory_hedged = true      # beside a short of the same size; false declares that it is not hedged
guards_every_s = 1.0         # between two looks at the guards
accounts_every_s = 5.0       # between two comparisons of both accounts with the journal
terms_every_s = 20.0         # between two looks at both markets' contract size, steps, minima, and whether they are open
"""
TAIL = """
[limits]                     # beyond them a parameter file is refused; the first three must stand here for real money
# max_clip_usdt = {clip:g}
# max_position_usdt = {position:g}
# max_loss_day_usdt = 20.0     # of a UTC day; then the pair is left, and entries halt
min_entry_bps = -50.0
max_entry_bps = 100.0
max_hold_s = 21600.0
max_quote_age_s = 5.0
max_price_bound_bps = 100.0
max_leg_deadline_s = 60.0
max_leg_tolerance = 0.1
max_participation = 1.0
cover_fees = true            # refuse thresholds that are no further apart than the four fees of a pair

[guards]
position_headroom = 0.25         # leave: prices lifted the position over its limit by this share
max_orders_minute = 60           # no entries
max_failures = 5                 # halt: entries in a row that were refused or unwound
min_liquidation_distance = 0.1   # leave: the liquidation price is nearer than this share of the mark
worst_adl_rank = 1               # leave: this far up in the queue of auto-deleveraging (1 is the first)
max_funding_against_bps = 10.0   # no entries: the next funding costs a short more
min_margin_usdt = 10.0           # no entries: free margin below this
min_spot_usdt = 10.0             # no entries: free USDT for coins below this
max_clock_offset_ms = 500.0      # no entries: a venue's clock is further from ours
min_disk_mb = 50.0               # no entries: less is free on the disk

[paper]                      # wallets on paper; all zero: what the parameters assume, or twice what a position needs
spot_usdt = 0.0
perp_usdt = 0.0
transfer_delay_h = 0.0       # 0: no transfers; else half the difference is sent when a wallet cannot pay
transfer_fee_usdt = 0.0
transfer_least_usdt = 0.0

[alerts]                     # where to: DELTA_ARB_ALERTS, addresses of apprise, or [alerts] urls = [...] in the keys_file
naked_s = 3.5                # legs unequal for so long
repeat_s = 600.0             # between two of the same kind
daily_utc = "00:05"          # the summary of the day before

[health]
port = 0                     # of 127.0.0.1, for /healthz and /metrics (Prometheus); 0 is none

[watch]                      # of `delta-arb live watch`
silent_s = 30.0              # without an answer of the runner for so long, a person is rung
every_s = 5.0
resting_s = 3.0              # without an answer for so long, what rests is cancelled by its id
flatten = false              # true: and what stands alone is closed, the runner ended before
accept_unwatched = false     # true: a leg may rest at MEXC, which has no countdown, with no watcher on this machine
account_position_usdt = 0.0  # of all runners of this kind under the reports folder; beyond it all are killed; 0 is no limit
account_loss_day_usdt = 0.0  # the same of what they have lost in a UTC day

[orders]                     # patience with an order that its venue says nothing of, s from its send
overdue_s = 0.5              # then its venue is asked by its id
ioc_s = 0.7                  # then one that still works is cancelled
unknown_s = 0.9              # then one that its venue does not know has never been there
answer_s = 5.0               # a venue's answer about an order
retry_s = 0.2                # before an order that was refused twice is sent again; a third refusal gives its leg up
resting_s = 2.0              # between two looks by REST at an order that rests
pause_s = 1.0                # that a leg waits for a venue that wants a pause; for a longer one it is given up at once

[pace]                       # of streams and comparisons, s
first_s = 10.0               # from subscribing to the first message
quiet_s = 0.4                # without a quote for so long, REST is asked whether the book still stands
compare_s = 60.0             # and in any case this often
again_s = 0.2                # between two looks at a side that differs from REST
ping_s = 5.0
dead_s = 12.0                # nothing at all from the venue, then it is dialled again
backoff_s = 0.2              # before the second dial, then twice as long each time
backoff_max_s = 30.0
clock_s = 10.0               # between two looks at the venue's clock
renew_s = 1600.0             # of MEXC's listen key, which dies after 3600 s
push_s = 0.3                 # for the private stream to tell an order's end, before it is looked up
order_s = 2.0                # an order, or what is asked about one, without an answer for so long is in doubt
window_s = 0.5               # a venue may accept an order for so long
weight_per_s = 25.0          # of requests a second, as MEXC weighs them; orders have a limit of their own
"""


def example(params: Params | None) -> str:
    """The text of a whole configuration, for a parameter file or else for LUNC."""
    if params is None:
        return _written("LUNC_USDT", LUNC, 0.0, 50.0, 50.0)
    clip, coins = params.rule.clip_usdt, params.wallets.inventory_coins
    return _written(params.pair, (params.spot, params.perp), coins, clip, params.rule.max_position_usdt or clip)


def _written(pair: str, venues: tuple[VenueTerms, VenueTerms], coins: float, clip: float, position: float) -> str:
    sections = (_section(name, venue) for name, venue in zip(("spot", "perp"), venues, strict=True))
    return HEAD.format(pair=pair, coins=coins) + "".join(sections) + TAIL.format(clip=clip, position=position)


def _section(name: str, venue: VenueTerms) -> str:
    lines = [f"\n[{name}]"]
    for field, meaning in VENUE_NAMES.items():
        value = getattr(venue, field)
        setting = f'{field} = "{value}"' if isinstance(value, str) else f"{field} = {value!r}"
        setting = f"# {field} = 0.0" if value is None else setting
        lines.append(f"{setting:28} # {meaning}" if meaning else setting)
    return "\n".join(
        [*lines, "ccxt = {}                    # goes to the client's constructor as it stands; never keys\n"]
    )
