"""Funding of a Gate.io perpetual: what is announced, and what was settled, with no hole unsaid."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from delta_arb.live import clock
from delta_arb.live.venues.base import Funding, VenueError
from delta_arb.live.venues.ccxt_client import reading
from delta_arb.live.venues.ccxt_venue import CcxtVenue
from delta_arb.market import NS, utc

PAGE = 1000  # rows at most
LISTED_NS = 600 * NS  # after a stamp, its rate is in the history


class GateFunding(CcxtVenue):
    """The half of `gate.GateVenue` that orders do not need."""

    def _of_market(self, **more: Any) -> dict[str, Any]:
        return {"settle": "usdt", "contract": self.id} | more

    async def funding(self) -> Funding:
        call = self._clients.queries.publicFuturesGetSettleContractsContract
        row = await self._query(call, self._of_market(), what="the contract")
        with reading("gate: the contract"):
            next_ns, interval_s = int(row["funding_next_apply"]) * NS, int(row["funding_interval"])
            return Funding(float(row["funding_rate"]), next_ns, interval_s, float(row["mark_price"]))

    async def funding_history(self, start_ns: int, end_ns: int) -> tuple[tuple[int, float], ...]:
        """See `base.Venue.funding_history`; walked backwards from the end, for Gate was seen to ignore the start."""
        found: dict[int, float] = {}
        call, until_s = self._clients.queries.publicFuturesGetSettleFundingRate, (end_ns - 1) // NS
        while True:
            asked = self._of_market(**{"from": start_ns // NS, "to": until_s, "limit": PAGE})
            rows = await self._query(call, asked, what="funding history")
            with reading("gate: funding history"):
                fresh = {int(row["t"]) * NS: float(row["r"]) for row in rows if int(row["t"]) * NS not in found}
            found |= fresh
            if not fresh or min(found) <= start_ns:
                break
            until_s = min(fresh) // NS
        known = sorted((ts_ns, rate) for ts_ns, rate in found.items() if start_ns <= ts_ns < end_ns)
        await self._check_covered([ts_ns for ts_ns, _ in known], start_ns, end_ns)
        return tuple(known)

    async def _check_covered(self, stamps: Sequence[int], start_ns: int, end_ns: int) -> None:
        """Both ends of a range must be nearer to a stamp than the longest interval: else history is missing.

        The newest stamp is given some time to be listed.
        """
        longest_ns = max((b - a for a, b in pairwise(stamps)), default=0) or (await self.funding()).interval_s * NS
        end_ns = min(end_ns, clock.now_ns() - LISTED_NS)
        edges = [start_ns, *stamps[:1]], [*stamps[-1:], end_ns]
        if any(edge[-1] - edge[0] > longest_ns for edge in edges) or (not stamps and end_ns - start_ns > longest_ns):
            known = f"{utc(stamps[0])} to {utc(stamps[-1])}" if stamps else "none"
            raise VenueError(
                f"gate: funding from {utc(start_ns)} to {utc(end_ns)} was asked for, and Gate returned {known}; ask for less"
            )
