"""Funding that a live entry counts on: the stamps before the start, those that pass, and what is missing of either."""

import asyncio
import time
from decimal import Decimal
from types import SimpleNamespace

import pytest
from live_stage import QUICK, RULE, publish, quick_config, stage

from delta_arb.backtest import replay
from delta_arb.funding_stamps import RECENT, expected
from delta_arb.latency import Latency
from delta_arb.live import preflight
from delta_arb.live.event_log import replayed
from delta_arb.live.event_loop import EventLoop
from delta_arb.live.guards import NO_ENTRY
from delta_arb.live.market_watch import FundingWatch
from delta_arb.live.supervisor import PAPER, LiveJob
from delta_arb.live.venues.base import Funding, VenueError
from delta_arb.market import LEGS, NEVER, NS, PERP, FundingPayment
from delta_arb.review.session_log import tape_of
from delta_arb.sandbox.values import FundingPaid, Upcoming
from delta_arb.strategy.state import FLAT, OPEN, QUOTE

EVERY_S = 5
HORIZON_S = EVERY_S * RECENT  # so the expected edge is the sum of the last nine rates
PATIENT = quick_config(guards={"max_funding_against_bps": 1000.0}, pace=QUICK)


class Stamps:
    """Funding of the local venue in whole seconds: a past without any pay, then the rates given, announced in advance."""

    def __init__(self, it, rates: list[str], past: int = RECENT + 3) -> None:
        self.perp = it.venues.perp
        self.first_s = time.time_ns() // NS // EVERY_S * EVERY_S + EVERY_S
        self.rates = rates
        for k in range(past, 0, -1):
            at_ns = (self.first_s - k * EVERY_S) * NS
            self.perp.funding.append(FundingPaid(at_ns, "SYN_USDT", Decimal(0), Decimal("0.8"), Decimal(0)))
        self._announce(0)

    @classmethod
    async def begin(cls, it, rates: list[str], past: int = RECENT + 3) -> "Stamps":
        """Just after a stamp, so that a session has started before the next one."""
        await asyncio.sleep(EVERY_S - time.time() % EVERY_S + 0.05)
        return cls(it, rates, past)

    def _announce(self, k: int) -> None:
        rate = Decimal(self.rates[k]) if k < len(self.rates) else Decimal(0)
        self.perp.upcoming_funding["SYN_USDT"] = Upcoming(rate, (self.first_s + k * EVERY_S) * NS, EVERY_S)

    async def pay(self) -> None:
        for k, rate in enumerate(self.rates):
            await asyncio.sleep(self.first_s + k * EVERY_S - time.time())
            self.perp.fund("SYN_USDT", Decimal(rate), Decimal("0.8"))
            self._announce(k + 1)

    def known(self) -> tuple[FundingPayment, ...]:
        """The venue's own book, in the whole seconds that it tells."""
        return tuple(FundingPayment(p.ts_ns // NS * NS, float(p.rate), float(p.mark), False) for p in self.perp.funding)


def test_expected_funding_opens_and_closes_a_pair_live_when_it_does_in_the_backtest(tmp_path):
    """The books never move. Nine rates that sum to 20 bps lift the edge of -1.25 above 15; at -30 the cost of 3.75 is
    below -12."""
    seen = {}

    async def play():
        async with stage(tmp_path, config=PATIENT, rule={"funding_horizon_s": HORIZON_S}) as it:
            stamps = await Stamps.begin(it, ["0.0020", "-0.0050", "0"])
            paying = asyncio.create_task(stamps.pay())
            session = await it.start()
            assert len(session.payments) > RECENT and not session.funding.missing()
            await it.until(lambda: it.phase == OPEN)
            await it.until(lambda: it.phase == FLAT and it.at_rest and session.runner.state.pair == 1)
            await paying
            await it.until(lambda: session.payments[-1].ts_ns >= (stamps.first_s + 2 * EVERY_S) * NS)
            seen["rule"], seen["known"], seen["first_ns"] = session.runner.pinned, stamps.known(), stamps.first_s * NS
            await it.stop()
            it.assert_replays()
            seen["orders"] = it.rows("SELECT ts_ns, leg, phase FROM orders ORDER BY rowid")
            (seen["trade"],) = it.rows("SELECT opened_ns, closed_ns, reason, funding_usdt, qty FROM trades")
            seen["booked"] = it.rows("SELECT ts_ns, rate FROM funding ORDER BY ts_ns")

    asyncio.run(play())
    known, first_ns = seen["known"], seen["first_ns"]
    promised = expected(known, HORIZON_S)
    assert [promised.at(first_ns + k * EVERY_S * NS + 1) for k in range(2)] == pytest.approx([0.0020, -0.0030])
    (events,) = [[decided.event for decided in replayed(path)] for path in tmp_path.glob("*.bin")]
    quotes = [event for event in events if event.kind == QUOTE]
    assert {q.ts_ns: q.shift for q in quotes} == {q.ts_ns: promised.at(q.ts_ns) for q in quotes}
    tape = tape_of(quotes)
    tested = replay.run(tape, seen["rule"], Latency(0.1, 0.1), known)
    assert [(s.ts_ns, LEGS[s.leg]) for s in tested.sent] == [(ts_ns, leg) for ts_ns, leg, _ in seen["orders"]]
    opened_ns, closed_ns, reason, funding_usdt, qty = seen["trade"]
    assert reason == "target" and tested.trades[0].reason == "target"
    assert first_ns < opened_ns < first_ns + EVERY_S * NS < closed_ns < first_ns + 2 * EVERY_S * NS
    assert funding_usdt == pytest.approx(-0.0050 * 0.8002 * qty, rel=1e-3)  # the mark of the perpetual's mid stood in
    assert set(seen["booked"]) >= {(p.ts_ns, p.rate) for p in known[-3:]}


def test_without_enough_settled_funding_a_file_that_counts_on_it_does_not_start(tmp_path):
    async def play():
        async with stage(tmp_path, config=PATIENT, rule={"funding_horizon_s": HORIZON_S}) as it:
            await Stamps.begin(it, [], past=RECENT)
            it.launch()
            with pytest.raises(VenueError, match=r"funding from .* was asked for|9 funding stamps since"):
                await it.task
            assert not it.placed(PERP)

    asyncio.run(play())


@pytest.mark.parametrize(("past", "good"), [(RECENT + 3, True), (RECENT, False)])
def test_the_check_says_whether_the_funding_that_parameters_count_on_is_told(tmp_path, past, good):
    async def play():
        async with stage(tmp_path, config=PATIENT, rule={"funding_horizon_s": HORIZON_S}) as it:
            await Stamps.begin(it, [], past=past)
            params = tmp_path / PATIENT.name / "params" / "latest.json"
            return await preflight.look(LiveJob(PATIENT, PAPER, tmp_path, params, None, it.venues.config(), print))

    (row,) = [row for row in asyncio.run(play()) if row.check == "gate funding"]
    assert row.passed is good and ("stamps settled" in row.found) is good


def test_a_venue_that_does_not_tell_its_funding_refuses_the_start(tmp_path):
    async def play():
        async with stage(tmp_path, config=PATIENT, rule={"funding_horizon_s": HORIZON_S}) as it:
            await Stamps.begin(it, [])
            it.fault("gate", "funding", "refuse", code="FORBIDDEN", times=0)
            it.launch()
            with pytest.raises(VenueError, match="the contract: PermissionDenied"):
                await it.task

    asyncio.run(play())


def test_parameters_that_begin_to_count_on_funding_wait_until_it_is_known(tmp_path):
    async def play():
        async with stage(tmp_path, config=PATIENT) as it:
            stamps = await Stamps.begin(it, ["0.0020", "0", "0"])
            paying = asyncio.create_task(stamps.pay())
            session = await it.start()
            publish(tmp_path, **RULE | {"funding_horizon_s": HORIZON_S})
            await it.until(lambda: any("the last 10 funding stamps are not known" in s for s in it.said))
            await it.until(lambda: any("no longer: funding" in s for s in it.said), 15.0)
            await it.until(lambda: it.phase == OPEN)
            assert session.runner.pinned.funding_horizon_s == HORIZON_S
            paying.cancel()

    asyncio.run(play())


class Teller:
    """A perpetual's venue that tells what it is given; the local venues answer too quickly to be late."""

    name = "gate"

    def __init__(self, now_ns: int, told: list[tuple[int, float]], interval_s: int) -> None:
        self.told, self.interval_s, self.asked = told, interval_s, []
        self.next_ns, self.down = now_ns + NS, False

    async def funding(self) -> Funding:
        if self.down:
            raise VenueError("gate: the contract: no answer")
        return Funding(0.0001, self.next_ns, self.interval_s, 2.0)

    async def funding_history(self, start_ns: int, end_ns: int) -> tuple[tuple[int, float], ...]:
        self.asked.append((start_ns, end_ns))
        return tuple(row for row in self.told if start_ns <= row[0] < end_ns)


def watched(now: list[int], told, interval_s=3600):
    venue, payments, noted = Teller(now[0], told, interval_s), [], []
    watch = FundingWatch(venue, payments, now[0], lambda: now[0], print, noted.append)
    return venue, payments, noted, watch


def hours(*back: float, end_ns: int) -> list[tuple[int, float]]:
    return [(end_ns - round(h * 3600 * NS), h * 1e-4) for h in back]


def test_a_history_that_had_longer_intervals_is_looked_back_on_further():
    now = [1_000_000 * 3600 * NS]
    eighths = [2.0, *(2.0 + 8 * k for k in range(1, 15))]
    venue, payments, _, watch = watched(now, hours(*reversed(eighths), 1.0, 0.0, end_ns=now[0] - NS))
    asyncio.run(watch.feed())
    assert watch.fed and not watch.missing() and len(payments) > RECENT
    assert [start for start, _ in venue.asked] == [now[0] - h * 3600 * NS for h in (11, 22, 44, 88)]
    assert [p.ts_ns for p in payments] == sorted(p.ts_ns for p in payments)


def test_a_stamp_that_nobody_told_is_missing_two_minutes_later():
    now = [1_000_000 * 3600 * NS]
    _, payments, _, watch = watched(now, hours(*range(12, -1, -1), end_ns=now[0]))
    assert "the last 10 funding stamps are not known" in watch.missing()
    asyncio.run(watch.feed())
    now[0] = payments[-1].ts_ns + 3600 * NS + 119 * NS
    assert not watch.missing()
    now[0] += 2 * NS
    assert "the last funding stamp known is that of" in watch.missing()


def test_the_first_quote_behind_a_stamp_knows_it():
    """The watch sleeps until the stamp and wakes up to a millisecond late; the backtest counts it from its moment on."""
    now = [1_000_000 * 3600 * NS]
    venue, payments, _, watch = watched(now, hours(*range(13, 0, -1), end_ns=now[0]))
    asyncio.run(watch.feed())
    seen = []
    loop = EventLoop(lambda: now[0], *[lambda *_: None] * 4)
    loop.runner = SimpleNamespace(
        quote=lambda ts_ns, *_: seen.append((ts_ns, payments[-1].ts_ns)), state=SimpleNamespace(wake_ns=NEVER)
    )
    loop.funding = watch
    before_ns = payments[-1].ts_ns
    for now[0] in (venue.next_ns - 1, venue.next_ns + 38_000):
        loop.decide()
    assert seen == [(venue.next_ns - 1, before_ns), (venue.next_ns + 38_000, venue.next_ns)]


def test_a_stamp_that_passes_while_the_venue_is_silent_is_booked_as_it_was_announced():
    now = [1_000_000 * 3600 * NS]
    venue, payments, noted, watch = watched(now, hours(*range(13, 0, -1), end_ns=now[0]))
    asyncio.run(watch.feed())
    fed = len(payments)
    now[0] = venue.next_ns + 30 * NS
    venue.next_ns += 3600 * NS
    asyncio.run(watch._ask())
    assert payments[fed:] == [FundingPayment(now[0] - 30 * NS, 0.0001, 2.0, False)] == noted[fed:]
    venue.told.append((now[0] - 30 * NS, 0.0003))  # settled otherwise than announced
    asyncio.run(watch._settle())
    assert payments[fed:] == [FundingPayment(now[0] - 30 * NS, 0.0003, 2.0, False)] == noted[fed + 1 :]


@pytest.mark.parametrize("ago_s", [0, 5, 1_000_000 * 3600])
def test_a_stamp_that_is_announced_after_it_came_is_not_booked_before_it_is_settled(ago_s):
    """A venue that is slow to announce the next one, or (0 since 1970) announces none."""
    now = [1_000_000 * 3600 * NS]
    venue, payments, _, watch = watched(now, [])
    venue.next_ns = now[0] - ago_s * NS
    for _ in range(2):
        asyncio.run(watch._ask())
        now[0] += NS
    assert payments == [] and watch.rate == 0.0001


def test_an_open_pair_is_managed_without_what_the_venue_does_not_tell(tmp_path):
    async def play():
        async with stage(tmp_path, config=PATIENT, rule={"funding_horizon_s": HORIZON_S}) as it:
            stamps = await Stamps.begin(it, ["0.0020", "-0.0050", "0"])
            paying = asyncio.create_task(stamps.pay())
            await it.start()
            await it.until(lambda: it.phase == OPEN and it.at_rest)
            await it.crash()
            paying.cancel()
            it.fault("gate", "funding", "error", times=0)
            session = await it.start()
            assert any("the open pair's target waits for funding" in s for s in it.said)
            assert [h.level for h in session.risk.breaches if h.guard == "funding"] == [NO_ENTRY]
            it.show(("0.7988", "0.7990"))  # leaves by any expectation from -1 % to 1 %, if there were one
            await asyncio.sleep(0.5)
            assert it.phase == OPEN
            it.kill_file = "kill"
            await it.until(lambda: it.phase == FLAT and it.at_rest)
            it.agree()

    asyncio.run(play())
