"""What a run is about: which quotes, which venues, which costs; the same options for notebooks, pipeline and live.

`Inputs` is a frozen value whose fields are the notebooks' parameters and, with dashes, the commands' options. Without
files it is the bundled sample, which is synthetic and says so.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from math import isfinite
from pathlib import Path

from delta_arb.errors import ParamsError
from delta_arb.evidence import DataParams, LayoutParams
from delta_arb.formats.raw_table import split
from delta_arb.formats.read import LegContext, Recognised
from delta_arb.formats.recognise import FormatOptions
from delta_arb.latency import Latency, latency
from delta_arb.market import NS, SNAPSHOTS, UPDATES, FundingPayment, pair_name, plain_pair, utc
from delta_arb.params import WalletParams
from delta_arb.places import placed, sample
from delta_arb.quotes import candles as bars
from delta_arb.quotes import funding_file as paid
from delta_arb.quotes import listings
from delta_arb.quotes import tape as tapes
from delta_arb.quotes.depth_and_trades import read_depths, read_queues, sources
from delta_arb.quotes.files import files_of, is_candles
from delta_arb.quotes.funding_file import changes
from delta_arb.quotes.options import BAR_SHARE, FILES, LATENCIES, NONE, RULES, SPOT_MIN_USDT, InputOptions, as_dict
from delta_arb.quotes.recorded import is_ranged, is_recorded, is_synthetic
from delta_arb.venue_terms import VenueTerms, perpetual
from delta_arb.wallets import BOUNDLESS, NO_REBALANCING, Funds, Rebalancing

SAMPLE_FILES = ("spot.parquet", "perp.parquet", "funding.parquet")
SAMPLE_PAIR = "SYN_USDT"
SAMPLE_CONTRACT_SIZE = 10.0
KEPT: dict["Inputs", tuple[list, tapes.Tape]] = {}  # the stamps of files, and the tape that they made
NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")  # as in the parameter file


@dataclass(frozen=True, slots=True)
class Inputs(InputOptions):
    """Files, pair, venues and costs of one run. Give both quote files (and funding, or "none"), or none of the three."""

    def __post_init__(self) -> None:
        self.check_numbers()
        for name in LATENCIES:
            late = str(getattr(self, name))
            object.__setattr__(self, name, file if Path(file := placed(late)).is_file() else late)
        for name in (*FILES, *RULES):
            if getattr(self, name) != NONE:
                object.__setattr__(self, name, placed(getattr(self, name)))
        object.__setattr__(self, "pair", plain_pair(self.pair))
        if bool(self.spot) != bool(self.perp):
            raise ParamsError(
                f"give the quotes of both legs, was spot={self.spot!r} perp={self.perp!r}; or neither, for the sample"
            )
        if not self.spot:
            if self.funding or self.contract_size:
                raise ParamsError(
                    "the sample brings its own funding and contract size; leave both options away, or give --spot and --perp"
                )
            for name, file in zip(("spot", "perp", "funding"), _sample(), strict=True):
                object.__setattr__(self, name, file)
            object.__setattr__(self, "contract_size", SAMPLE_CONTRACT_SIZE)
            object.__setattr__(self, "pair", self.pair or SAMPLE_PAIR)
        if not self.pair:
            raise ParamsError("name the pair of these files, like --pair LUNC_USDT")
        if not self.funding:
            raise ParamsError(
                "give the funding history (--funding FILE), or say that it is left out with --funding none"
            )
        self._check_rules()
        if not self.contract_size > 0:
            raise ParamsError(
                "give the perpetual's contract size in base units (--contract-size); 1 where sizes are in base units"
            )
        for kind in (self.spot_kind, self.perp_kind):
            if kind not in (UPDATES, SNAPSHOTS):
                raise ParamsError(f"a leg is recorded as {UPDATES} or {SNAPSHOTS}, was {kind!r}")
        for name in ("pair", "spot_venue", "perp_venue"):
            if not NAME.fullmatch(getattr(self, name)):
                raise ParamsError(
                    f"{name} names a folder: letters, digits, _ . and -, at most 40, was {getattr(self, name)!r}"
                )
        _ = self.latency(), self.terms()
        for leg in ("spot", "perp", "funding"):
            self.format_options(leg)
        _ = self.stated, self.funds, self.rules_changed_ns

    def _check_rules(self) -> None:
        """A list of instruments is the whole truth about order rules: what else was said of them must not differ."""
        if self.spot_rules and self.spot_min_usdt != SPOT_MIN_USDT:
            raise ParamsError("--spot-rules say the smallest order themselves; leave --spot-min-usdt away")
        if not self.perp_rules:
            return
        if self.perp_step:
            raise ParamsError("--perp-rules say the step themselves; leave --perp-step away")
        size = self._listed("perp").contract_size
        object.__setattr__(self, "contract_size", self.contract_size or size)
        if self.contract_size not in (1.0, size):
            raise ParamsError(
                f"--contract-size {self.contract_size:g} is not the {size:g} of {self.perp_rules}; leave the option out, or give 1 "
                "where the recorded sizes are in base units"
            )

    @property
    def is_sample(self) -> bool:
        return (self.spot, self.perp) == _sample()[:2]

    @property
    def name(self) -> str:
        """Folder name of the pair, like LUNC_USDT-mexc-gate."""
        return pair_name(self.pair, self.spot_venue, self.perp_venue)

    @property
    def synthetic(self) -> bool:
        """Whether these quotes were made by the generator: the sample, or files that carry its mark."""
        return self.is_sample or any(_marked_synthetic(Path(path)) for path in (self.spot, self.perp))

    @property
    def hedged_coins(self) -> float:
        """What reverse pairs are sold out of; here every inventory has its short."""
        return self.inventory_coins

    @property
    def candles(self) -> bool:
        """Whether these are candles of both legs: then, and only then, half-spreads are stated."""
        return bool(self.spot_half_spread_bps or self.perp_half_spread_bps)

    @property
    def stated(self) -> bars.Stated | None:
        """What was stated about candles; None for quotes."""
        if self.candles:
            return bars.Stated(self.spot_half_spread_bps, self.perp_half_spread_bps, self.bar_share, self.bar_s)
        if self.bar_s or self.bar_share != BAR_SHARE:
            raise ParamsError(
                "bar_s and bar_share are for candles; give both half-spreads with them, or leave them away"
            )
        return None

    @property
    def rules_changed_ns(self) -> tuple[int, ...]:
        """When the perpetual's funding began to follow other rules; () where funding is left out."""
        return () if self.funding == NONE else changes(self.funding_changes, self.perp_venue)

    def _changed_within(self, tape: tapes.Tape) -> list[int]:
        return [at_ns for at_ns in self.rules_changed_ns if tape.start_ns < at_ns <= tape.end_ns]

    @property
    def mark(self) -> str:
        """What titles must say of these quotes: synthetic, candles, or nothing."""
        return ", ".join(["SYNTHETIC quotes"] * self.synthetic + ["CANDLES, stated half-spreads"] * self.candles)

    def tape(self) -> tapes.Tape:
        """Both legs read, checked and aligned, as far as funding is known (see `funding_file.covered`)."""
        return self.recorded() if self.funding == NONE else paid.covered(self.recorded(), self.funding_file())

    def recorded(self) -> tapes.Tape:
        """The whole of both files: quotes, or candles where half-spreads are stated."""
        kept = KEPT.get(self) if KEPT else None
        return kept[1] if kept and kept[0] == self._stamps() else self._read()

    def keep(self) -> None:
        """Read the files for all notebooks of a run: these are copies of the process that keeps what was read."""
        KEPT[self] = self._stamps(), self._read()

    def _stamps(self) -> list[tuple[str, int, int]]:
        """Of each file of quotes and trades: its name, when it was written, and its size."""
        named = filter(None, (self.spot, self.perp, self.spot_trades, self.perp_trades))
        read = [(str(file), split(file)[0].stat()) for name in named for file in files_of(name)]
        return [(file, of.st_mtime_ns, of.st_size) for file, of in read]

    def _read(self) -> tapes.Tape:
        legs = self.leg_file("spot"), self.leg_file("perp")
        if self.stated:
            if self.spot_trades or self.perp_trades:
                raise ParamsError("trades fill no order on candles; leave them away")
            if (self.spot_kind, self.perp_kind) != (UPDATES, UPDATES):
                raise ParamsError("candles are neither updates nor snapshots; leave --spot-kind and --perp-kind away")
            return bars.read(*legs, self.stated, max_bad_share=self.max_bad_share)
        for leg, file in zip(("spot", "perp"), legs, strict=True):
            if is_candles(file):
                raise ParamsError(
                    f"{getattr(self, leg)} holds candles, which do not say where bid and ask were; state it for both "
                    "legs: --spot-half-spread-bps and --perp-half-spread-bps"
                )
        tape = tapes.read(*legs, max_bad_share=self.max_bad_share)
        if not (self.spot_trades or self.perp_trades):
            return tape
        (queues, skipped), (depths, shown) = read_queues((self.spot_trades, self.perp_trades), legs), read_depths(legs)
        quality = replace(tape.quality, notes=(*tape.quality.notes, *skipped, *shown))
        return replace(tape, queues=queues, depths=depths, quality=quality)

    def source(self, leg: str):
        """What is read of a leg, or as funding history: the file, or a pandas table (see `recording`)."""
        return getattr(self, leg)

    def digest(self, leg: str) -> str:
        """SHA-256 of what is read."""
        return tapes.sha256(getattr(self, leg))

    def leg_file(self, leg: str) -> tapes.LegFile:
        feed = getattr(self, f"{leg}_feed_latency")
        return tapes.LegFile(
            path=self.source(leg),
            kind=getattr(self, f"{leg}_kind"),
            contract_size=self.contract_size if leg == "perp" else 1.0,
            clock="venue" if feed > 0 else "receiver",
            feed_latency_s=feed,
            options=self.format_options(leg),
            context=LegContext(leg, self.pair, getattr(self, f"{leg}_venue")),
        )

    def funding_file(self) -> paid.FundingFile:
        return paid.FundingFile(
            self.source("funding"), self.format_options("funding"), LegContext("funding", self.pair, self.perp_venue)
        )

    def format_options(self, leg: str) -> FormatOptions:
        """What was said of the layout of a leg's file, or of the funding history's."""
        return FormatOptions.of(getattr(self, f"{leg}_format"), getattr(self, f"{leg}_columns"))

    @property
    def fees_bps(self) -> float:
        """The four taker fees of a round trip."""
        return 2 * (self.spot_fee_bps + self.perp_fee_bps)

    def latency(self) -> Latency:
        return latency(self.spot_latency, self.perp_latency)

    def terms(self) -> tuple[VenueTerms, VenueTerms]:
        """The terms of both venues: order rules of their own lists, or else what the options say, and what is assumed.

        Without a list the spot grid is unknown and the perpetual's its step or one contract; ticks and the maintenance
        rate are not known, so no order is rounded and nothing is ever liquidated.
        """
        latency = self.latency()
        spot = self._listed("spot").replace(
            latency_s=latency.spot_s, fee_currency=self.spot_fee_in, **self.resting("spot")
        )
        perp = self._listed("perp").replace(
            latency_s=latency.perp_s, leverage=float(self.leverage), **self.resting("perp")
        )
        return spot, perp

    def _listed(self, leg: str) -> VenueTerms:
        """A leg's rules before anything of our own account but the fee."""
        venue, fee_bps, file = (getattr(self, f"{leg}_{name}") for name in ("venue", "fee_bps", "rules"))
        if file:
            return listings.listed_terms(Path(file), venue, self.pair, fee_bps)
        if leg == "spot":
            return VenueTerms(venue=venue, taker_fee_bps=fee_bps, min_notional_usdt=self.spot_min_usdt)
        perp = perpetual(venue, fee_bps, self.contract_size)
        return perp.replace(qty_step=self.perp_step, min_qty=self.perp_step) if self.perp_step else perp

    @property
    def funds(self) -> Funds:
        """What both wallets hold at the beginning; unlimited money where nothing was said of it."""
        transfer = self.transfer_delay_h, self.transfer_fee_usdt, self.transfer_least_usdt
        if self.spot_usdt == self.perp_usdt == 0.0:
            if any(transfer):
                raise ParamsError("transfers go between two wallets; give --spot-usdt and --perp-usdt too")
            return replace(BOUNDLESS, inventory=self.inventory_coins)
        if not (self.spot_usdt > 0 and self.perp_usdt > 0):
            raise ParamsError(
                f"give the USDT of both wallets, was spot {self.spot_usdt:g} and perp {self.perp_usdt:g}; or of neither: no limit"
            )
        if not self.transfer_delay_h and any(transfer):
            raise ParamsError(
                "say how long a transfer takes (--transfer-delay-h), or leave its fee and least amount away"
            )
        delay_ns = round(self.transfer_delay_h * 3600 * NS)
        # As floats: to the compiled replay a whole number, as one writes it into a notebook, is of another type.
        asked = Rebalancing(float(self.transfer_least_usdt), float(self.transfer_fee_usdt), delay_ns)
        policy = asked if delay_ns else NO_REBALANCING
        return Funds(self.spot_usdt, self.perp_usdt, self.inventory_coins, policy)

    def wallet_params(self, needs_usdt: tuple[float, float]) -> WalletParams:
        return wallet_params(self.funds, needs_usdt)

    def payments(self, tape: tapes.Tape) -> tuple[FundingPayment, ...]:
        """Funding stamps with their rates; where the mark was not recorded, the perpetual's mid at the stamp (flagged)."""
        return () if self.funding == NONE else paid.payments(self.funding_file(), tape)

    def data_params(self, tape: tapes.Tape, judged_from_ns: int | None) -> DataParams:
        """Where the evidence comes from, with the digests of the files."""
        return DataParams(
            synthetic=self.synthetic,
            start=_utc(tape.start_ns),
            end=_utc(tape.end_ns),
            judged_from=None if judged_from_ns is None else _utc(judged_from_ns),
            events=len(tape),
            spot_sha256=self.digest("spot"),
            perp_sha256=self.digest("perp"),
            funding_sha256=None if self.funding == NONE else self.digest("funding"),
            spot_kind=self.spot_kind,
            perp_kind=self.perp_kind,
            kind="candles" if self.candles else "quotes",
            spot_half_spread_bps=self.spot_half_spread_bps if self.candles else None,
            perp_half_spread_bps=self.perp_half_spread_bps if self.candles else None,
            bar_s=tape.bar_s if self.candles else None,
            bar_share=self.bar_share if self.candles else None,
            spot_layout=layout_params(tape.quality.taken_for[0]) if tape.quality else None,
            perp_layout=layout_params(tape.quality.taken_for[1]) if tape.quality else None,
            funding_layout=layout_params(self.funding_as()),
            funding_changes=tuple(map(_utc, self._changed_within(tape))),
            notes=self.notes(tape),
        )

    def notes(self, tape: tapes.Tape) -> tuple[str, ...]:
        """What every page must say of the files beside their layout."""
        rates = self.funding_rates()
        changed = tuple(
            f"the rules of {self.perp_venue}'s funding changed at {utc(at_ns)[:16]} UTC: evidence is not pooled over it"
            for at_ns in self._changed_within(tape)
        )
        prints = sources(tape.queues, (self.spot_trades, self.perp_trades))
        return (*(tape.quality.notes if tape.quality else ()), *(rates.notes if rates else ()), *changed, *prints)

    def funding_rates(self) -> paid.Rates | None:
        """The checked funding history; None where it is left out."""
        return None if self.funding == NONE else paid.funding_history(self.funding_file())

    def funding_as(self) -> Recognised | None:
        """What a funding history of another layout than ours was taken for."""
        rates = self.funding_rates()
        return rates.recognised if rates else None

    @classmethod
    def named(cls, values: Mapping[str, object]) -> "Inputs":
        """Of a namespace that has each field under its name, like a notebook's (see `named`)."""
        return cls(**named(values, (field.name for field in fields(cls))))

    @classmethod
    def from_options(cls, options: InputOptions) -> "Inputs":
        """Checked, and made whole by what the sample and the lists of instruments say."""
        return cls(**as_dict(options))


def named(values: Mapping[str, object], names: Iterable[str]) -> dict[str, object]:
    """These names of a namespace that declares them, like a notebook's; raises ParamsError naming what it lacks."""
    found = {name: values.get(name) for name in names}
    missing = [name for name in found if name not in values]
    if missing:
        raise ParamsError(f"the cell of parameters lacks {', '.join(missing)}; declare each with its type and default")
    return found


def wallet_params(funds: Funds, needs_usdt: tuple[float, float]) -> WalletParams:
    """What was assumed of the wallets, as the parameter file writes it, beside what a full position needs."""
    policy = funds.rebalancing
    moved = policy._asdict() if policy != NO_REBALANCING else {}
    return WalletParams(
        spot_usdt=funds.spot_usdt if isfinite(funds.spot_usdt) else None,
        perp_usdt=funds.perp_usdt if isfinite(funds.perp_usdt) else None,
        min_spot_usdt=needs_usdt[0],
        min_perp_usdt=needs_usdt[1],
        inventory_coins=funds.inventory,
        transfer_delay_s=moved["delay_ns"] / NS if moved else None,
        transfer_fee_usdt=moved.get("fee_usdt"),
        transfer_least_usdt=moved.get("least_usdt"),
    )


def layout_params(found: Recognised | None) -> LayoutParams | None:
    """What a file was taken for, as the parameter file writes it."""
    if found is None:
        return None
    return LayoutParams(
        layout=found.layout,
        time=found.time,
        zone=found.zone,
        quantity=found.quantity or None,
        clock=found.clock or None,
        notes=found.notes,
    )


def _sample() -> tuple[str, ...]:
    """The bundled sample's files: spot, perpetual, funding."""
    return tuple(str(sample() / file) for file in SAMPLE_FILES)


def _marked_synthetic(path: Path) -> bool:
    """Whether a Parquet file, or the first one of a folder, carries the generator's mark in its metadata."""
    import pyarrow.parquet

    ranged = files_of(str(path)) if is_ranged(path) and not is_recorded(path) else []
    path = split(path)[0]
    if is_recorded(path):
        return is_synthetic(path)
    files = ranged or sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.suffix == ".parquet" else []
    return bool(files) and b"synthetic" in (pyarrow.parquet.read_schema(files[0]).metadata or {})


def _utc(ts_ns: int):
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ts_ns // 1_000 / 1e6, UTC)
