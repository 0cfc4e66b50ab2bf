"""What the two books offer each other: edges and costs of one quote or of a column, and how long they last.

The formulas are plain arithmetic on purpose. The same function takes two floats (the live runner), two numpy columns
(the notebooks) or is compiled by numba (the backtest), and gives the same bits in all three. Prices are USDT per base
unit, fees are fractions per fill, results are fractions of the spot price; `to_bps` makes the face unit.
"""


def entry_edge(spot_ask, perp_bid):
    """What opening the direct pair pays, taker on both legs, before fees; larger is better."""
    return (perp_bid - spot_ask) / spot_ask


def exit_cost(spot_bid, perp_ask):
    """What closing the direct pair costs, taker on both legs, before fees; smaller is better."""
    return (perp_ask - spot_bid) / spot_bid


def reverse_edge(spot_bid, perp_ask):
    """What opening the reverse pair pays (sell spot out of inventory, buy perp); exactly `-exit_cost`."""
    return (spot_bid - perp_ask) / spot_bid


def reverse_cost(spot_ask, perp_bid):
    """What closing the reverse pair costs; exactly `-entry_edge`."""
    return (spot_ask - perp_bid) / spot_ask


def mid(bid, ask):
    """Middle of one book; a reference, nothing ever fills there."""
    return 0.5 * (bid + ask)


def basis(spot_mid, perp_mid):
    """Relative distance of the two mids; positive means the perpetual is rich."""
    return (perp_mid - spot_mid) / spot_mid


def round_trip_fees(spot_fee, perp_fee):
    """The four taker fees of a round trip as a fraction of notional: both legs, in and out."""
    return 2 * (spot_fee + perp_fee)


def to_bps(fraction):
    """Fraction to basis points."""
    return fraction * 10_000.0
