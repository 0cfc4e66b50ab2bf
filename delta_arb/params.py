"""The contract between notebook and runner: one JSON file per export, with its evidence.

`reports/<pair>/params/<created>.json`, and `latest.json` beside it, replaced atomically. bps and seconds at this
face, fractions and ns inside (`strategy.rule.make_rule` is the only conversion). "Do not trade" is a result: `trade` is false, the
thresholds are null, the reason says why. A file is refused when it is damaged (its digest does not match), has
unknown or missing fields, values out of bounds, another pair, or is past its validity.
"""

import hashlib
import json
import os
import stat
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, ValidationError, model_validator

from delta_arb.errors import ParamsError
from delta_arb.evidence import (
    DataParams,
    Digest,
    Evidence,
    Gate,
    Name,
    Positive,
    Section,
    spoken,
)
from delta_arb.market import pair_name
from delta_arb.rule_params import Rule
from delta_arb.venue_terms import VenueTerms

SCHEMA = 6
LARGEST = 1_000_000  # bytes of a parameter file; an export has some thousands
BY_HAND = "by hand"
FEES = ("no", "two", "four")  # of the takers, at so many ends of a pair


class WalletParams(Section):
    """What both wallets were assumed to hold when trading begins, and what live must find there.

    `spot_usdt`, `perp_usdt`: money of the replays behind the evidence; null had no end. `min_*`: what a full position
    takes from each, without which live does not begin. `inventory_coins`: held on spot, beside a short of the same size,
    and sold by reverse pairs. `transfer_*`: of USDT sent over when a wallet cannot pay; null where nothing is sent.
    """

    spot_usdt: Positive | None = None
    perp_usdt: Positive | None = None
    min_spot_usdt: Annotated[float, Field(ge=0)] = 0.0
    min_perp_usdt: Annotated[float, Field(ge=0)] = 0.0
    inventory_coins: Annotated[float, Field(ge=0)] = 0.0
    transfer_delay_s: Positive | None = None
    transfer_fee_usdt: Annotated[float, Field(ge=0)] | None = None
    transfer_least_usdt: Positive | None = None

    @model_validator(mode="after")
    def _whole(self):
        if (self.spot_usdt is None) != (self.perp_usdt is None):
            raise ValueError("give the USDT of both wallets, or null both")
        transfer = (self.transfer_delay_s, self.transfer_fee_usdt, self.transfer_least_usdt)
        if len({value is None for value in transfer}) > 1:
            raise ValueError("transfer_delay_s, transfer_fee_usdt and transfer_least_usdt belong together")
        if self.transfer_delay_s is not None and self.spot_usdt is None:
            raise ValueError("transfers go between two wallets whose USDT is given")
        return self

    def __str__(self) -> str:
        limits = "no limit of USDT" if self.spot_usdt is None else f"{self.spot_usdt:g} and {self.perp_usdt:g} USDT"
        held = f", {self.inventory_coins:,.10g} coins beside as short a position" if self.inventory_coins else ""
        return f"{limits}{held}; a full position needs {self.min_spot_usdt:.2f} and {self.min_perp_usdt:.2f} USDT"


class Params(Section):
    """One export: pair and venues, trade or not and why, the rule, what was assumed, the evidence and how long it is valid.

    Read one with `load`, build one with `sealed`, which adds the digest of everything else; `docs/parameter_file.md` has
    the table of its parts. Fields are checked when it is built (ParamsError).
    """

    schema_version: Literal[6] = SCHEMA
    pair: Name
    profile: Literal["reversion", "carry"] = "reversion"
    chosen: Literal["by search", "by hand"] = "by search"  # who chose the thresholds
    trade: bool
    reason: Annotated[str, Field(min_length=1)]
    rule: Rule
    spot: VenueTerms
    perp: VenueTerms
    wallets: WalletParams = WalletParams()
    data: DataParams
    evidence: Evidence
    gates: tuple[Gate, ...] = ()
    created: datetime
    valid_until: datetime
    code_version: Annotated[str, Field(min_length=1)]
    notebook: Annotated[str, Field(min_length=1)]
    run_id: Annotated[str, Field(min_length=1)]
    sha256: Digest

    @model_validator(mode="after")
    def _consistent(self):
        for name in ("created", "valid_until"):
            if getattr(self, name).utcoffset() != timedelta(0):
                raise ValueError(f"{name} must be a UTC time")
        if not self.created < self.valid_until:
            raise ValueError(f"valid_until must be after created, was {self.valid_until} and {self.created}")
        if not self.trade:
            if self.rule.levels:
                raise ValueError(
                    "trade is false but there are thresholds: null them, and keep what was found as evidence"
                )
            return self
        if not self.rule.levels:
            raise ValueError("trade is true but there are no thresholds")
        if missed := "; ".join(gate.finding for gate in self.gates if gate.refuses):
            raise ValueError(f"trade is true but a demand is missed: {missed}")
        if "reverse_" in self.rule.levels and not self.wallets.inventory_coins:
            raise ValueError(
                "reverse pairs are sold out of coins that are held: wallets.inventory_coins must be above 0"
            )
        leg = self.rule.maker_leg
        if leg and getattr(self, leg).maker_fee_bps is None:
            raise ValueError(
                f"rule.{leg}_role is maker and {leg}.maker_fee_bps is null: state the account's fee for makers"
            )
        fees = self.rule.takers() * (self.spot.taker_fee_bps + self.perp.taker_fee_bps)
        for way, (enter, leave) in self.rule.levels.items():
            if enter - leave <= fees:
                raise ValueError(
                    f"{way}entry_bps - {way}exit_bps = {enter - leave:g} does not pay the {FEES[self.rule.takers()]} fees of {fees:g} bps"
                )
        return self

    @property
    def name(self) -> str:
        return pair_name(self.pair, self.spot.venue, self.perp.venue)

    @property
    def says(self) -> str:
        """The verdict in one line, with what must be said of the quotes behind it."""
        levels = (
            f"{way.replace('_', ' ')}entry {enter:g} bps, exit {leave:g} bps"
            for way, (enter, leave) in self.rule.levels.items()
        )
        by_hand = " (chosen by hand)" * (self.chosen == BY_HAND)
        verdict = "; ".join(levels) + by_hand if self.trade else f"do not trade: {self.reason}"
        return ", ".join(filter(None, (self.name, self.data.mark, verdict)))

    def __repr__(self) -> str:
        return f"Params({self.says})"

    __str__ = __repr__


def _canonical(values: dict) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _digest(values: dict) -> str:
    return hashlib.sha256(_canonical({k: v for k, v in values.items() if k != "sha256"})).hexdigest()


def sealed(**values) -> Params:
    """`Params` with its digest; raises ParamsError with every field that is out of bounds."""
    try:
        draft = Params(**values, sha256="0" * 64)
        return draft.model_copy(update={"sha256": _digest(draft.model_dump(mode="json"))})
    except ParamsError as error:
        raise ParamsError(f"these parameters cannot be exported: {error}") from error


def save(params: Params, path: Path) -> Path:
    """Write atomically: a reader sees the old file or the new one, whole, also after a power cut."""
    return write_atomic(path, serialised(params))


def serialised(params: Params) -> str:
    """The text of a parameter file."""
    return json.dumps(params.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"


def write_atomic(path: Path, text: str) -> Path:
    """Write `text` to a temporary file beside `path`, flush it to disk, rename it into place."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp gives 0600; the file holds no secret
        os.replace(temporary, path)
    except BaseException:  # whatever interrupts, also Ctrl-C: no temporary file stays behind
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return path


def drop_half_written(folder: Path) -> None:
    """Remove what `write_atomic` had not renamed yet when its process was killed; for whoever alone writes there."""
    for half in folder.glob(".*.????????"):
        half.unlink()


def load(path: Path) -> Params:
    """Read and verify one file; raises ParamsError saying what is wrong with it and what to do."""
    path = Path(path)
    try:
        content = _content(path)
    except FileNotFoundError:
        raise ParamsError(f"{path}: there is no parameter file; run the pipeline for this pair first") from None
    except OSError as error:
        raise ParamsError(f"{path}: cannot be read ({error.strerror}); point it at the exported file") from error
    return parse(content, path)


def parse(content: bytes, path: str | Path) -> Params:
    """Verify the bytes of a parameter file; `path` is what messages call it. Errors as `load`."""
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, numbers or nesting beyond any export
        raise ParamsError(
            f"{path}: damaged, not JSON ({error}); run the pipeline again to export a whole one"
        ) from error
    if not isinstance(raw, dict):
        raise ParamsError(f"{path}: damaged, not an object; run the pipeline again to export a whole one")
    version = raw.get("schema_version")
    if type(version) is not int or version != SCHEMA:  # True and 1.0 only equal it
        raise ParamsError(f"{path}: schema version {version!r} is not {SCHEMA}; run the pipeline of this version again")
    if missing := _missing(Params, raw):
        raise ParamsError(
            f"{path}: refused, missing {', '.join(missing)}; nothing is filled in, run the pipeline again"
        )
    try:
        params = Params.model_validate_json(_canonical(raw))
    except ValidationError as error:
        raise ParamsError(
            f"{path}: refused, {spoken(error)}; run the pipeline again, do not mend the file by hand"
        ) from error
    except ValueError as error:  # NaN and infinity are not JSON
        raise ParamsError(f"{path}: refused, {error}; run the pipeline again") from error
    if _digest(raw) != params.sha256:
        raise ParamsError(f"{path}: damaged or edited, its content does not match its sha256; run the pipeline again")
    return params


def _content(path: Path) -> bytes:
    """A regular file of at most LARGEST bytes; anything else is refused unread, since it could be waited for without end."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as opened:
        found = os.fstat(opened.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ParamsError(f"{path}: no regular file; point it at the exported file")
        if found.st_size > LARGEST:
            raise ParamsError(
                f"{path}: {found.st_size:,} bytes, no export has over {LARGEST:,}; point it at the exported file"
            )
        return opened.read()


def _missing(section: type[Section], given: dict, prefix: str = "") -> list[str]:
    """Dotted names of the fields that a file leaves to their defaults."""
    names = []
    for name, field in section.model_fields.items():
        if name not in given:
            names += [] if field.is_required() else [prefix + name]
        elif isinstance(given[name], dict):
            kinds = get_args(field.annotation) or (field.annotation,)
            sections = (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section))
            names += [lost for kind in sections for lost in _missing(kind, given[name], f"{prefix}{name}.")]
    return names


def publish(params: Params, reports: Path) -> Path:
    """Make an export the newest one of its pair; returns the path of `latest.json`."""
    folder = Path(reports) / params.name / "params"
    save(params, folder / f"{params.created:%Y%m%dT%H%M%S.%fZ}.json")
    return save(params, folder / "latest.json")


# --- whether a file may be traded: of the right pair, valid now, within bounds, chosen for these venues ---------------


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the runner's own configuration allows a parameter file to ask for."""

    max_clip_usdt: float = 1000.0
    max_entry_bps: float = 100.0
    max_hold_s: float = 6 * 3600.0
    max_quote_age_s: float = 5.0
    max_price_bound_bps: float = 100.0
    max_leg_deadline_s: float = 60.0
    min_leg_deadline_s: float = 0.0  # of the runner: two orders that were lost must fit into it
    min_entry_bps: float = -50.0
    max_leg_tolerance: float = 0.1
    max_participation: float = 1.0
    max_position_usdt: float = 1000.0
    cover_fees: bool = True

    def check(self, rule: Rule) -> None:
        """Refuse a rule beyond the configuration, naming each excess."""
        asked = {
            "clip_usdt": (rule.clip_usdt, self.max_clip_usdt),
            "max_hold_s": (rule.max_hold_s, self.max_hold_s),
            "funding_horizon_s": (rule.funding_horizon_s, self.max_hold_s),
            "max_quote_age_s": (rule.max_quote_age_s, self.max_quote_age_s),
            "price_bound_bps": (rule.price_bound_bps, self.max_price_bound_bps),
            "leg_deadline_s": (rule.leg_deadline_s, self.max_leg_deadline_s),
            **({"longest_rest_s": (rule.resting.longest_rest_s, self.max_hold_s)} if rule.resting else {}),
            "leg_tolerance": (rule.leg_tolerance, self.max_leg_tolerance),
            "participation": (rule.participation, self.max_participation),
            "max_position_usdt": (
                rule.max_position_usdt or rule.clip_usdt,
                max(self.max_position_usdt, self.max_clip_usdt),
            ),
            **{f"{way}entry_bps": (enter, self.max_entry_bps) for way, (enter, _) in rule.levels.items()},
        }
        beyond = [
            f"{name}={value:g} is above the configured {limit:g}"
            for name, (value, limit) in asked.items()
            if value > limit
        ]
        beyond += [
            f"{way}entry_bps={enter:g} is below the configured {self.min_entry_bps:g}"
            for way, (enter, _) in rule.levels.items()
            if enter < self.min_entry_bps
        ]
        if rule.leg_deadline_s < self.min_leg_deadline_s:
            beyond.append(
                f"leg_deadline_s={rule.leg_deadline_s:g} is below {self.min_leg_deadline_s:g}, twice the configured "
                "orders.unknown_s"
            )
        if beyond:
            raise ParamsError(
                f"parameters out of the runner's bounds: {'; '.join(beyond)}; lower them in the research, or raise the bound"
            )


def check_in_force(params: Params, name: str, now: datetime, bounds: Bounds) -> None:
    """Refuse parameters of another pair, not yet or no longer valid at `now`, or out of the runner's bounds."""
    if params.name != name:
        raise ParamsError(
            f"these parameters are for {params.name}, the runner trades {name}; point it at the right export"
        )
    if now >= params.valid_until:
        raise ParamsError(
            f"stale: valid until {params.valid_until:%Y-%m-%d %H:%M:%S} UTC, it is {now.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC; "
            "run the pipeline again, or replay with --as-of"
        )
    if now < params.created - timedelta(seconds=5):
        raise ParamsError(
            f"created at {params.created:%Y-%m-%d %H:%M:%S} UTC, "
            f"which is after now ({now.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC); set the clock"
        )
    bounds.check(params.rule)


def check_inventory(params: Params, coins: float) -> None:
    """Refuse reverse pairs where less is held than they were chosen to be sold out of; `coins` beside as short a position."""
    assumed = params.wallets.inventory_coins
    if "reverse_" in params.rule.levels and coins < assumed:
        raise ParamsError(
            f"chosen to sell out of {assumed:,.10g} coins that are held beside a short of the same size, here {coins:,.10g} are "
            "declared (inventory_coins); hold and declare them, or run the pipeline with what there is"
        )


def check_assumed(params: Params, spot: VenueTerms, perp: VenueTerms) -> None:
    """Refuse parameters that were chosen for other fees, latencies or order rules than those of this run."""
    differences = [
        f"{leg}.{field} is {getattr(assumed, field)!r} in the file and {getattr(ours, field)!r} here"
        for leg, assumed, ours in (("spot", params.spot, spot), ("perp", params.perp, perp))
        for field in VenueTerms.model_fields
        if getattr(assumed, field) != getattr(ours, field)
    ]
    if differences:
        raise ParamsError(
            f"chosen under other assumptions: {'; '.join(differences)}; give the same options as to the pipeline, or run it again"
        )
