"""The frame of a study: what is demanded, what every replay shares, and which part of the quotes may be looked at."""

import math
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, replace
from operator import itemgetter

from delta_arb.backtest.performance import Performance
from delta_arb.backtest.replay import Backtest, run
from delta_arb.errors import ParamsError
from delta_arb.evidence import FilterParams
from delta_arb.latency import Latency
from delta_arb.latency import latency as latencies
from delta_arb.market import LEGS, NEVER, NS, FundingPayment, round_trip_fees, to_bps
from delta_arb.optimize.offers import Thresholds, rule_levels
from delta_arb.params import Rule
from delta_arb.quotes.candles import DEADLINE_BARS
from delta_arb.quotes.inputs import Inputs
from delta_arb.quotes.tape import Tape
from delta_arb.stats.reversion import HalfLife
from delta_arb.stats.sharpe import wilson
from delta_arb.strategy.rule import make_rule
from delta_arb.strategy.state import MachineRule
from delta_arb.tables import share
from delta_arb.venue_terms import VenueTerms, common_step, completed, each_leg, said_terms
from delta_arb.wallets import BOUNDLESS, Funds

CASH_PERCENT = 4.0  # a year, where nothing else is stated


@dataclass(frozen=True, slots=True)
class Constraints:
    """What thresholds must reach to be exported, on the fit and on the judged part alike.

    Args:
        target_hit_rate: least share of trades that ended at the exit threshold; missed where its whole 95 % interval
            lies below.
        min_trades_day: least trades a day; 0 for no such demand.
        max_drawdown: largest fall from the peak, share of the capital of the replay (see `capital_of`).
        max_entry_bps: entries above this are not tried, bps.
        max_hold_s: longest hold, s.
        look_back_h: hours looked back; the last part of them judges.
        fit_share: share of the look-back that is fitted on, at most 0.9.
        repeated_h: hours over which runs like this follow each other, each of which might export, so that their luck
            is paid for.
        stress_loss_bps: a loss, bps of a full position, that the record must bear though it never came; where this tape would have
            cost more in trouble, that counts.
        cash_percent: what the same capital earns without trading, % a year; the walk-forward must earn more.

    Raises:
        ParamsError: a value out of its bounds.
    """

    target_hit_rate: float = 0.7
    min_trades_day: float = 5.0
    max_drawdown: float = 0.02
    max_entry_bps: float = 100.0
    max_hold_s: float = 6 * 3600.0
    look_back_h: float = 24.0
    fit_share: float = 2 / 3
    repeated_h: float = 0.0
    stress_loss_bps: float = 0.0
    cash_percent: float = CASH_PERCENT

    def __post_init__(self) -> None:
        for name in ("target_hit_rate", "max_drawdown", "fit_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ParamsError(f"{name} is a share, above 0 and at most 1, was {getattr(self, name)}")
        for name in ("max_entry_bps", "max_hold_s", "look_back_h"):
            if not getattr(self, name) > 0:
                raise ParamsError(f"{name} must be positive, was {getattr(self, name)}")
        if not 0 <= self.repeated_h < math.inf:
            raise ParamsError(f"repeated_h must be positive, or 0 for a single run, was {self.repeated_h}")
        if not 0 <= self.stress_loss_bps <= 10_000:
            raise ParamsError(
                f"stress_loss_bps is a loss in bps of the position, 0 to 10000, was {self.stress_loss_bps}"
            )
        if not self.min_trades_day >= 0:
            raise ParamsError(f"min_trades_day must be positive, or 0 for no such demand, was {self.min_trades_day}")
        if self.fit_share > 0.9:
            raise ParamsError(f"fit_share={self.fit_share} leaves too little to judge on; keep at least a tenth")

    def failures(self, p: Performance) -> list[str]:
        """Which demands a result misses, in words; empty when it passes."""
        misses = []
        if p.net_usdt <= 0:
            misses.append(f"net {p.net_usdt_day:.2f} USDT a day is not above zero")
        # By the point, not its interval: an edge that died shows first in too few pairs of the newest part.
        if p.trades_day < self.min_trades_day:
            misses.append(f"{p.trades_day:.1f} trades a day are below {self.min_trades_day:g}")
        if p.ended and (rate := wilson(p.hits, p.ended)).high < self.target_hit_rate:  # few pairs decide nothing
            misses.append(
                f"hit rate {rate.value:.2f} of {p.ended} pairs (95 %: at most {rate.high:.2f}) is below "
                f"{self.target_hit_rate:g}"
            )
        if p.drawdown > self.max_drawdown:
            misses.append(f"drawdown {share(p.drawdown, 2)} is above {share(self.max_drawdown, 2)}")
        if p.halted:
            misses.append("the legs could not be balanced and the machine halted")
        return misses


SEED = 7  # of the bootstraps: the same quotes give the same choice, the same interval
PERIOD_S = 900.0  # of the marks behind intervals of net profit
MIN_FOLDS = 3  # of a walk-forward
HALF_LIVES = 5.0  # of embargo, where that is shorter than the longest hold
NO_THRESHOLDS = Rule()
REVERSION, CARRY = PROFILES = ("reversion", "carry")


def demands(profile: str, **values: float) -> Constraints:
    """The constraints of a profile; who carries for weeks is asked for no number of trades a day."""
    if profile not in PROFILES:
        raise ParamsError(f"profile must be one of {', '.join(PROFILES)}, was {profile!r}")
    if profile == CARRY and values.get("stress_loss_bps"):
        raise ParamsError(
            "stress_loss_bps is held against the pairs of reversion; carry has no such demand, so leave it out of its runs"
        )
    return Constraints(**values | ({"min_trades_day": 0.0} if profile == CARRY else {}))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Market:
    """What every replay shares: venues' terms, latencies, funding, the conduct of orders, the wallets it begins with.

    `da.Market(fee_bps=5, latency_s=0.1)` states costs alone: what it does not say of the venues (contract size, grids,
    minima) and the funding are those of the quotes it is used with (`on`).

    Args:
        spot, perp: the terms of each venue, where more is known than fee and latency.
        latency: of both legs, where it is more than a constant each.
        payments: the funding stamps; None: those of the quotes.
        settings: the rule without thresholds that a search begins with.
        signal: what a search decides on, raw or filtered quotes.
        funds: what both wallets hold at the beginning; without limit if not given.
        funding_changes: ns from which the payments follow other rules; those of the quotes, where they are read from files.
        fee_bps: taker fee, bps of notional per fill, of both legs or one for each; 5 if nobody says.
        maker_fee_bps: the same of an order that rested, each leg's own or None; without it a rule that rests there is refused.
        latency_s: the same, from a quote to our order at the venue, s, "0.1~0.4" (median~p99) or a file; 0.1 if nobody says.

    Raises:
        ParamsError: a value out of bounds, or a fee or latency beside terms that say their own.
    """

    spot: VenueTerms = None
    perp: VenueTerms = None
    latency: Latency = None
    payments: tuple[FundingPayment, ...] | None = None
    settings: Rule = NO_THRESHOLDS
    signal: str = "raw"
    funds: Funds = BOUNDLESS
    funding_changes: tuple[int, ...] = ()
    fee_bps: InitVar[float | tuple | None] = None
    latency_s: InitVar[float | str | tuple | None] = None
    maker_fee_bps: InitVar[float | tuple | None] = None

    def __post_init__(self, fee_bps, latency_s, maker_fee_bps) -> None:
        late = latency_s if latency_s is None else latencies(*map(str, each_leg("latency_s", latency_s)))
        seconds = late and (late.spot_s, late.perp_s)
        said = said_terms(taker_fee_bps=fee_bps, maker_fee_bps=maker_fee_bps, latency_s=seconds)
        if (self.spot or self.perp) and any(said):
            raise ParamsError("terms of a venue say its fee and latency themselves; leave fee_bps and latency_s away")
        for leg, more in zip(LEGS, said, strict=True):
            terms = getattr(self, leg) or VenueTerms(venue=leg, **more)
            if not isinstance(terms, VenueTerms):
                raise ParamsError(f"{leg} is VenueTerms(venue=...), was {terms!r}; a fee is given as fee_bps={terms!r}")
            object.__setattr__(self, leg, terms)
        constant = Latency(self.spot.latency_s, self.perp.latency_s)
        object.__setattr__(self, "latency", self.latency or late or constant)

    def on(self, tape: Tape, settings: Rule | None = None) -> "Market":
        """This market for some quotes and a conduct: what it does not say comes with the quotes.

        Raises:
            ParamsError: a clip below the smallest order, or an inventory below a clip.
        """
        legs, latency, payments, changed = (self.spot, self.perp), self.latency, self.payments, self.funding_changes
        if inputs := getattr(tape, "inputs", None):
            legs = tuple(completed(mine, listed) for mine, listed in zip(legs, inputs.terms(), strict=True))
            constant = latency == Latency(self.spot.latency_s, self.perp.latency_s)
            latency, changed = None if constant else latency, changed or inputs.rules_changed_ns
        payments = getattr(tape, "payments", ()) if payments is None else payments
        market = Market(*legs, latency, payments, settings or self.settings, self.signal, self.funds, changed)
        return _checked(market, tape)

    def __repr__(self) -> str:
        """Everything assumed, what was defaulted to included."""
        venues = "; ".join(
            f"{t.venue}: fee {t.taker_fee_bps:g} bps{_of_makers(t)}, latency {self.latency.delay(leg)}, contract of {t.contract_size:g}, "
            f"step {t.qty_step:g}, smallest order {t.min_qty:g} coins and {t.min_notional_usdt:g} USDT"
            for leg, t in zip(LEGS, (self.spot, self.perp), strict=True)
        )
        stamps = "that of the quotes" if self.payments is None else f"{len(self.payments)} stamps"
        return f"Market({venues}; funding: {stamps}; wallets: {self.funds})"

    def replay(self, tape: Tape, thresholds: Thresholds | None) -> Backtest:
        """The backtest of one set; without thresholds nothing is entered."""
        return run(tape, self.rule(thresholds), self.latency, self.payments, funds=self.funds)

    def in_turn(self, tape: Tape, turns: Sequence[tuple[int, Thresholds | None]], end_ns: int) -> Backtest:
        """The backtest of sets in turn, each from its time (ns, rising) on; from `end_ns` on nothing is entered any more.

        As the runner does that gets one parameter file after another: an open pair keeps the rule that it was opened with,
        and is led to its own end; None forbids entries.
        """
        (start_ns, first), *later = ((from_ns, self.rule(thresholds)) for from_ns, thresholds in turns)
        last = later[-1][1] if later else first
        later.append((end_ns, last._replace(entry=math.inf, reverse_entry=math.inf)))
        known = tape.between(start_ns, tape.end_ns + 1)
        whole = run(known, first, self.latency, self.payments, later=later, funds=self.funds)
        return replace(whole, start_ns=start_ns, end_ns=end_ns)

    def rule(self, thresholds: Thresholds | None) -> MachineRule:
        """A set as the machine takes it; without thresholds it forbids entries."""
        return make_rule(self.rule_params(thresholds), self.spot, self.perp)

    def rules(self, sets: Sequence[Thresholds]) -> list[MachineRule]:
        """The rule of every set. The bounds of a parameter are checked on the least and greatest of it."""
        extremes = {pick(sets, key=itemgetter(k)) for pick in (min, max) for k in range(3)} if sets else set()
        extremes |= {min(sets, key=lambda s: s.entry_bps - s.exit_bps)} if sets else set()
        for thresholds in (*extremes, *(s for s in sets if not all(map(math.isfinite, s[:3])))):
            self.rule_params(thresholds)
        first = {s.filter: s for s in reversed(sets)}
        bases = {f: make_rule(self.rule_params(s), self.spot, self.perp) for f, s in first.items()}
        return [
            bases[s.filter]._replace(
                **rule_levels(s), max_hold_ns=round(s.max_hold_s * NS), funding_horizon_s=s.funding_horizon_s
            )
            for s in sets
        ]

    def rule_params(self, thresholds: Thresholds | None) -> Rule:
        return self.settings.replace(**(thresholds.values() if thresholds else {}))

    @property
    def fees_bps(self) -> float:
        """The four taker fees of a round trip, without the last digits: 5.999999999999999 is no less than 6.
        Of an end that rests there are none: its level is net of them (`rule_params.Rule`).
        """
        return round(to_bps(round_trip_fees(self.spot.taker_fee, self.perp.taker_fee)) * self.settings.takers() / 2, 9)

    @property
    def position_usdt(self) -> float:
        """A full position: one clip, unless several are allowed."""
        return max(self.settings.clip_usdt, self.settings.max_position_usdt or 0.0)

    def taking(self) -> "Market":
        """The same with both legs taking."""
        return replace(self, settings=self.settings.replace(spot_role="taker", perp_role="taker", resting=None))

    def with_fees(self, spot_bps: float, perp_bps: float) -> "Market":
        return replace(
            self, spot=self.spot.replace(taker_fee_bps=spot_bps), perp=self.perp.replace(taker_fee_bps=perp_bps)
        )

    def process(self, reverts: HalfLife | None) -> FilterParams | None:
        """The filter of the fitted process, where the signal is filtered and the fit found noise."""
        if self.signal == "raw" or reverts is None or not reverts.process.noise_sd > 0:
            return None
        p = reverts.process
        step_s = reverts.span_s / (reverts.n - 1)
        return FilterParams(
            half_life_s=reverts.half_life_s, mean_bps=p.mean, sd_bps=p.sd, noise_sd_bps=p.noise_sd, step_s=step_s
        )

    def funding_bps_s(self, before_ns: int) -> float:
        """What funding has paid a short per second so far, bps of notional; 0.0 without stamps in the past."""
        since_ns = self.rules_since_ns(before_ns)
        past = [p for p in self.payments if since_ns <= p.ts_ns < before_ns]
        if len(past) < 2:
            return 0.0
        return to_bps(sum(p.rate for p in past[1:])) / ((past[-1].ts_ns - past[0].ts_ns) / NS)

    def rules_since_ns(self, until_ns: int) -> int:
        """Since when funding has followed the rules in force at a time; -NEVER where no change is known."""
        return max((at_ns for at_ns in self.funding_changes if at_ns <= until_ns), default=-NEVER)

    def in_force(self, tape: Tape) -> Tape:
        """The part of a tape under the funding rules in force at its end, which alone is evidence for what comes."""
        since_ns = self.rules_since_ns(tape.end_ns)
        return tape.between(since_ns, tape.end_ns + 1) if self.payments and since_ns > tape.start_ns else tape

    def with_latency(self, spot_s: float, perp_s: float) -> "Market":
        return self._at(Latency(spot_s, perp_s))

    def slower(self, spot: float, perp: float) -> "Market":
        """The orders of each leg take a factor longer."""
        return self._at(self.latency.times(spot, perp))

    def _at(self, latency: Latency) -> "Market":
        """With time enough until the deadline of an order."""
        needed_s = max(self.settings.leg_deadline_s, 2 * (latency.longest_s + self.settings.max_quote_age_s))
        return replace(self, latency=latency, settings=self.settings.replace(leg_deadline_s=needed_s))

    def with_clip(self, clip_usdt: float) -> "Market":
        """Another clip, and room for as many of them as before."""
        room = self.settings.max_position_usdt and self.settings.max_position_usdt * clip_usdt / self.settings.clip_usdt
        return replace(self, settings=self.settings.replace(clip_usdt=clip_usdt, max_position_usdt=room))


def check_signal(signal: str) -> None:
    """Raises ParamsError where a rule cannot decide on it."""
    if signal not in ("raw", "filtered"):
        raise ParamsError(f"signal must be raw or filtered, was {signal!r}")


def _of_makers(terms: VenueTerms) -> str:
    return "" if terms.maker_fee_bps is None else f" (makers {terms.maker_fee_bps:g})"


def market(inputs: Inputs, tape: Tape, settings: Rule, signal: str = "raw") -> Market:
    """The market of a study from its inputs; `signal` raw or filtered is what its sets will decide on.

    On candles the deadline of an order is lengthened above one bar (see `candles`).

    Raises:
        ParamsError: another signal, a clip below the smallest order, or an inventory below a clip.
    """
    terms, paid = inputs.terms(), inputs.payments(tape)
    changed = inputs.rules_changed_ns
    return _checked(Market(*terms, inputs.latency(), paid, settings, signal, inputs.funds, changed), tape)


def _checked(market: Market, tape: Tape) -> Market:
    """A market that something can be traded in, its deadline above a bar of candles."""
    settings = market.settings
    check_signal(market.signal)
    _check_clip(settings.clip_usdt, common_step(market.spot, market.perp), tape)
    _check_inventory(market.funds.inventory, settings.clip_usdt, tape)
    if not tape.bar_s:
        return market
    # nothing is seen between two ends of bars, so a missing leg waits for the next one
    deadline_s = max(settings.leg_deadline_s, DEADLINE_BARS * tape.bar_s)
    return replace(market, settings=settings.replace(leg_deadline_s=deadline_s))


def _check_clip(clip_usdt: float, step: float, tape: Tape) -> None:
    """Refuse a clip that never buys the smallest quantity that both venues take: nothing could ever trade."""
    least_usdt = step * float(tape.spot_ask.min())
    if clip_usdt < least_usdt:
        raise ParamsError(
            f"clip_usdt={clip_usdt:g} never buys one step of {step:g} base units, which is {least_usdt:.2f} USDT at the lowest "
            "ask; raise clip_usdt, or check --contract-size and --perp-step"
        )


def _check_inventory(coins: float, clip_usdt: float, tape: Tape) -> None:
    """Refuse an inventory that never is worth a clip: no reverse pair could be sold out of it."""
    worth_usdt = coins * float(tape.spot_bid.max())
    if 0.0 < worth_usdt < clip_usdt:
        raise ParamsError(
            f"inventory_coins={coins:g} are worth {worth_usdt:.2f} USDT at the highest bid, less than a clip of "
            f"{clip_usdt:g}: nothing could be sold out of them; lower clip_usdt, or leave the inventory out"
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """How a walk-forward cuts its quotes, seconds.

    `look_back_s`: entries of the fit come from so many; `step_s`: length of a fold; `embargo_s`: between the two, only
    for exits; `period_s`: of the marks behind intervals and probabilities, dividing step and look-back. `half_life_s` is
    that of the basis, where it is known.
    """

    look_back_s: float
    step_s: float
    embargo_s: float
    period_s: float = PERIOD_S
    half_life_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("step_s", "look_back_s"):
            value, periods = getattr(self, name), getattr(self, name) / self.period_s if self.period_s > 0 else 0.0
            if not (value > 0 and periods > 0 and math.isclose(periods, round(periods))):
                raise ParamsError(f"{name}={value:g} must be a whole number of periods of {self.period_s:g} s")

    def check_embargo(self, max_hold_s: float) -> None:
        """Refuse one below the longest hold, or five half-lives where that is shorter."""
        memory_s = math.inf if self.half_life_s is None else HALF_LIVES * self.half_life_s
        least_s = min(max_hold_s, memory_s)
        if not self.embargo_s >= least_s:
            raise ParamsError(
                f"embargo_s={self.embargo_s:g} is below {least_s:g} (the longest hold, or five half-lives if shorter); "
                "pairs of the look-back would not have ended when the fold begins"
            )
