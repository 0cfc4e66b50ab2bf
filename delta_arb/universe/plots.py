"""The figure of a universe: what each basis offers against its costs, and what funding pays."""

from delta_arb.report import figures
from delta_arb.report.figures import Picture
from delta_arb.universe.ranking import RankedPair, Universe

SHOWN = 24


def offers(universe: Universe, most: int = SHOWN) -> Picture:
    """Of the best pairs the range of the basis, and funding a day with its interval; green: to trade, red: a veto."""
    title, shown = "What the basis and funding offer", [p for p in universe.pairs if "basis_bps" in p.figures][:most]
    if not shown:
        return figures.empty(title, "no pair could be read", universe)
    with figures.picture(title, universe, 1.4 + 0.28 * len(shown), ncols=2, sharey=True) as (figure, (left, right)):
        for k, each in enumerate(shown):
            f, color = each.figures, _color(each)
            left.plot([f["basis_low_bps"], f["basis_high_bps"]], [k, k], color=color, linewidth=3)
            left.plot(f["basis_bps"], k, "o", color=figures.INK, markersize=4)
            if f["funding_low"] is not None:
                right.plot([f["funding_low"], f["funding_high"]], [k, k], color=color)
            if f["funding_bps_day"] is not None:
                right.plot(f["funding_bps_day"], k, "o", color=color, markersize=5)
        left.set_yticks(range(len(shown)), [each.pair for each in shown])
        left.invert_yaxis()
        left.set_xlabel("basis of the mids, 5 to 95 %, bps")
        right.axvline(0, color=figures.EDGE, linewidth=0.8)
        right.set_xlabel("funding paid to a short, bps a day")
    return Picture(figures.marked(title, universe), figure)


def _color(of: RankedPair) -> str:
    return figures.GAIN if of.trade else figures.LOSS if of.vetoes else figures.SPOT
