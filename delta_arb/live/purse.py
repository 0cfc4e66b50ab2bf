"""Live paper's wallets: what they began with, and what the journal knows of since.

They pay, earn and move money by the rules of the backtest (`wallets`), so an entry that one of them cannot pay for is
refused, and said. A restart finds them as they were: all fills, trades and transfers are in the journal.
"""

import json
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence

from delta_arb.live.accounts import Baseline
from delta_arb.live.config import Config
from delta_arb.live.journal import Journal
from delta_arb.live.paper import PaperWallets
from delta_arb.live.venues.base import Account
from delta_arb.market import LEGS, NS, PERP, SPOT, Book, FundingPayment, utc
from delta_arb.params import WalletParams
from delta_arb.strategy.sizing import needs_usdt
from delta_arb.strategy.state import Event, Rule
from delta_arb.wallets import NO_REBALANCING, Funds, Purse, Rebalancing, Transfer, moved, wallet_of

BEGAN, SENT = "paper wallets", "paper transfer"  # kinds of notes
FULL = 2.0  # wallets that nobody stated hold so many times what is needed


class PaperPurse(PaperWallets):
    """The wallets of one session on paper.

    Args:
        assumed: what the parameters say of the wallets.
        payments: the funding stamps known so far; others add to it.
        since_ns: stamps up to then are in the journal's trades, or nobody's.
    """

    def __init__(
        self,
        config: Config,
        rule: Rule,
        assumed: WalletParams,
        journal: Journal,
        payments: Sequence[FundingPayment],
        since_ns: int,
        now_ns: int,
        say: Callable[[str], None],
    ) -> None:
        funds, why = begun(config, rule, assumed, journal)
        super().__init__(funds, rule.perp.leverage)
        self._payments, self._paid_ns = payments, since_ns
        self._journal, self._say = journal, say
        self.base = Baseline(funds.spot_usdt, funds.perp_usdt, funds.inventory, 0.0)
        self.purse = _later(funds, journal)
        for sent in _transfers(journal):
            self.purse = moved(self.purse, _other(sent.to_leg), -sent.usdt)
            if sent.arrives_ns > now_ns:
                self._moving = sent
            else:
                self.purse = moved(self.purse, sent.to_leg, sent.usdt - sent.fee_usdt)
        say(f"paper wallets: spot {self.purse.spot_usdt:.2f} USDT, futures {self.purse.perp_usdt:.2f} USDT ({why})")

    def _stamps(self, now_ns: int) -> Sequence[FundingPayment]:
        if not self._payments or self._payments[-1].ts_ns <= self._paid_ns:
            return ()
        first, past = (bisect_right(self._payments, ns, key=lambda p: p.ts_ns) for ns in (self._paid_ns, now_ns))
        self._paid_ns = max(self._paid_ns, now_ns)
        return self._payments[first:past]

    def lacked(self, event: Event) -> None:
        """See `PaperWallets`; a transfer is noted for the next start."""
        before = self._moving
        super().lacked(event)
        if self._moving != before:
            self._journal.note(SENT, json.dumps(self._moving))
            source, target = (LEGS[leg] for leg in (_other(self._moving.to_leg), self._moving.to_leg))
            self._say(
                f"paper transfer: {self._moving.usdt:.2f} USDT from {source} to {target}, there at "
                f"{utc(self._moving.arrives_ns)} UTC"
            )

    def accounts(self, perp: Book, now_ns: int) -> tuple[Account, Account]:
        """Both wallets as a venue would tell of them."""
        free, purse = wallet_of(self.purse, perp, self._leverage), self.purse
        spot = Account(free.spot_usdt, purse.spot_usdt, purse.spot_coin, 0.0, 0.0, 0, now_ns)
        return spot, Account(free.perp_usdt, purse.perp_usdt, 0.0, purse.perp_qty, 0.0, 0, now_ns)


def begun(config: Config, rule: Rule, assumed: WalletParams, journal: Journal) -> tuple[Funds, str]:
    """What both wallets held at the beginning, and who says so: the configuration, an earlier start, the parameters, or
    what a position needs."""
    inventory = config.hedged_coins
    if stated := config.paper.funds(inventory):
        return stated, "began with what the configuration states under [paper]"
    transfers = NO_REBALANCING
    if assumed.transfer_delay_s:
        delay_ns = round(assumed.transfer_delay_s * NS)
        transfers = Rebalancing(assumed.transfer_least_usdt, assumed.transfer_fee_usdt, delay_ns)
    if noted := journal.last_note(BEGAN):
        return Funds(*json.loads(noted[1]), inventory, transfers), "began so at the first start; [paper] states others"
    usdt, why = (assumed.spot_usdt, assumed.perp_usdt), "what the parameters assumed"
    if not all(usdt):
        entering = rule if min(rule.entry, rule.reverse_entry) < math.inf else rule._replace(entry=0.0)
        floors = config.guards.min_spot_usdt, config.guards.min_margin_usdt
        usdt = tuple(FULL * (need + floor) for need, floor in zip(needs_usdt(entering), floors, strict=True))
        why = "twice what a full position and the guards' floors need"
    journal.note(BEGAN, json.dumps(usdt))
    return Funds(*usdt, inventory, transfers), f"{why}; [paper] in the configuration states others"


def _later(funds: Funds, journal: Journal) -> Purse:
    """The purse after everything in the journal but transfers."""
    (coins, position), (spot_usdt, perp_usdt) = journal.held(), journal.cash()
    return Purse(
        funds.spot_usdt + spot_usdt,
        funds.inventory + coins,
        funds.perp_usdt + perp_usdt + journal.funded_usdt(),
        position,
    )


def _transfers(journal: Journal) -> list[Transfer]:
    return [Transfer(*json.loads(text)) for text in journal.notes(SENT)]


def _other(leg: int) -> int:
    return PERP if leg == SPOT else SPOT
