"""What a trader sets, in one TOML file: pair and venues, limits, guards, patience. No keys: they live elsewhere.

    pair = "LUNC_USDT"

    [spot]
    venue = "mexc"
    taker_fee_bps = 5.0        # assumed in the research; the check compares it with the account's own
    latency_s = 0.1
    min_notional_usdt = 1.0

    [perp]
    venue = "gate"
    taker_fee_bps = 5.0
    latency_s = 0.1
    contract_size = 10000.0

    [paper]                    # what both wallets begin with on paper; see `delta-arb live example` for what they hold without it
    spot_usdt = 200.0
    perp_usdt = 200.0

    [limits]                   # what a parameter file may ask for; live wants every one of them written out
    max_clip_usdt = 50.0
    max_position_usdt = 60.0
    max_loss_day_usdt = 5.0

Every other name has a default, shown and explained by `delta-arb live example`. Keys come from the environment
(DELTA_ARB_MEXC_KEY, DELTA_ARB_MEXC_SECRET, ...) or from a file that only its owner can read: one table for each venue
with `key` and `secret`.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from delta_arb.errors import ParamsError
from delta_arb.evidence import Name
from delta_arb.latency import Latency
from delta_arb.market import NS, PERP, SPOT, pair_name, plain_pair
from delta_arb.params import Bounds, spoken
from delta_arb.places import parsed
from delta_arb.venue_terms import NotNegative, VenueTerms
from delta_arb.wallets import NO_REBALANCING, Funds, Rebalancing

Positive = Annotated[float, Field(gt=0)]
SECRET_NAMES = frozenset(("apiKey", "secret", "password", "privateKey", "token", "twofa"))  # of ccxt's credentials


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class VenueConfig(VenueTerms):
    """One leg's venue, with what the research assumed of it. `ccxt` goes to the client's constructor as it stands."""

    ccxt: dict[str, Any] = Field(default_factory=dict)

    @field_validator("ccxt")
    @classmethod
    def _without_keys(cls, options: dict[str, Any]) -> dict[str, Any]:
        """The journal keeps the whole configuration, so nothing secret may be in it."""
        if found := SECRET_NAMES & options.keys():
            raise ValueError(
                f"{', '.join(sorted(found))} may not be here: keys come from the environment or the private keys_file, "
                "and one that was written into this file should be changed"
            )
        return options

    def terms(self) -> VenueTerms:
        """As the parameter file writes it."""
        return VenueTerms(**self.model_dump(exclude={"ccxt"}))

    def of_account(self, listed: VenueTerms) -> VenueTerms:
        """The venue's own terms and fee, with our leverage there, the currency of the fee, and the latency assumed."""
        return listed.replace(leverage=self.leverage, fee_currency=self.fee_currency, latency_s=self.latency_s)


class OrderTimeouts(NamedTuple):
    """How long an order may be silent, in seconds from its send.

    `unknown_s` bounds how long one leg may wait for an order that was cut off. A venue accepts an order for as long as
    its window (`Pace.window_s`, which `ccxt_client` sends as recvWindow and X-Gate-Exptime) and what our clock, as
    measured, is ahead of the venue's: half a round trip, and a look that took longer than the window is not believed. The
    rest is for the venue to show what it accepted. Before that a delayed order may still be accepted, so the start refuses less
    (`resources.both_venues`).
    """

    overdue_s: float = 0.5
    ioc_s: float = 0.7
    unknown_s: float = 0.9
    answer_s: float = 5.0
    resting_s: float = 2.0  # between two looks by REST at an order that rests
    retry_s: float = 0.2  # after a refusal of our own bucket, or a second one of the venue
    pause_s: float = 1.0  # that a leg waits at most for a venue that wants a pause; then it is left alone


class RiskLimits(_Section):
    """What a parameter file may ask for (params.Bounds), and what may be lost in a UTC day."""

    max_clip_usdt: Positive = 1000.0
    max_position_usdt: Positive = 1000.0
    max_loss_day_usdt: Positive = 20.0
    min_entry_bps: Annotated[float, Field(ge=-1000, le=1000)] = -50.0
    max_entry_bps: Positive = 100.0
    max_hold_s: Positive = 6 * 3600.0
    max_quote_age_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    max_price_bound_bps: Positive = 100.0
    max_leg_deadline_s: Positive = 60.0
    max_leg_tolerance: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    max_participation: Annotated[float, Field(gt=0, le=1)] = 1.0
    cover_fees: bool = True

    def bounds(self) -> Bounds:
        return Bounds(**self.model_dump(exclude={"max_loss_day_usdt"}))


class GuardNumbers(_Section):
    """The number of each guard (guards.py says what it does)."""

    position_headroom: NotNegative = 0.25  # share by which prices may lift a position over max_position_usdt
    max_orders_minute: Annotated[int, Field(gt=0)] = 60
    max_failures: Annotated[int, Field(gt=0)] = 5
    min_liquidation_distance: Annotated[float, Field(ge=0, lt=1)] = 0.1
    worst_adl_rank: Annotated[int, Field(ge=0)] = 1
    max_funding_against_bps: NotNegative = 10.0
    min_margin_usdt: NotNegative = 10.0
    min_spot_usdt: NotNegative = 10.0
    max_clock_offset_ms: Positive = 500.0
    min_disk_mb: Positive = 50.0


class AlertSettings(_Section):
    """When a person is rung (`messages`); the addresses are in DELTA_ARB_ALERTS or the keys_file."""

    naked_s: Positive = 3.5  # legs unequal for so long; with the look each second it rings within 5 s
    repeat_s: Positive = 600.0  # between two alerts of the same kind
    daily_utc: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "00:05"  # the summary of the day before


class HealthSettings(_Section):
    """/healthz and /metrics on 127.0.0.1 (`monitoring`); port 0 is none."""

    port: Annotated[int, Field(ge=0, le=65535)] = 0


class WatchSettings(_Section):
    """The watcher (watch.py): when a runner counts as silent, and whether it then flattens unequal legs."""

    silent_s: Annotated[float, Field(ge=5)] = 30.0  # longer than a restart takes
    every_s: Positive = 5.0
    resting_s: Annotated[float, Field(ge=2)] = 3.0  # after which what rests is cancelled
    flatten: bool = False
    accept_unwatched: bool = False  # a leg may rest unwatched at a venue that has no countdown
    account_position_usdt: NotNegative = 0.0  # of all runners of this kind under the reports folder; 0 is no limit
    account_loss_day_usdt: NotNegative = 0.0


class PaperMoney(_Section):
    """What both wallets hold when paper trading begins, and transfers between them (`wallets`); 0.0: nobody says."""

    spot_usdt: NotNegative = 0.0
    perp_usdt: NotNegative = 0.0
    transfer_delay_h: NotNegative = 0.0  # 0: there are none
    transfer_fee_usdt: NotNegative = 0.0
    transfer_least_usdt: NotNegative = 0.0

    @model_validator(mode="after")
    def _whole(self) -> "PaperMoney":
        try:
            self.funds(0.0)
        except ParamsError as error:
            raise ValueError(str(error)) from None
        return self

    def funds(self, inventory_coins: float) -> Funds | None:
        """As the simulation takes them; None where nothing is said.

        Raises:
            ParamsError: one wallet without the other, or a transfer that is no transfer.
        """
        if not any(self.model_dump().values()):
            return None
        if not (self.spot_usdt and self.perp_usdt):
            raise ParamsError("needs spot_usdt and perp_usdt above zero, or nothing at all")
        delay_ns = round(self.transfer_delay_h * 3600 * NS)
        policy = Rebalancing(self.transfer_least_usdt, self.transfer_fee_usdt, delay_ns) if delay_ns else NO_REBALANCING
        return Funds(self.spot_usdt, self.perp_usdt, inventory_coins, policy)


class Config(_Section):
    """The whole file."""

    pair: Name
    spot: VenueConfig
    perp: VenueConfig
    limits: RiskLimits = RiskLimits()
    guards: GuardNumbers = GuardNumbers()
    orders: OrderTimeouts = OrderTimeouts()
    paper: PaperMoney = PaperMoney()
    alerts: AlertSettings = AlertSettings()
    health: HealthSettings = HealthSettings()
    watch: WatchSettings = WatchSettings()
    pace: dict[str, float] = {}  # of streams and comparisons, by the names of websocket.Pace
    inventory_coins: NotNegative = 0.0  # coins that reverse pairs are sold out of, beside a core short of the same size
    inventory_hedged: bool = True
    accept_unbound_keys: bool = False  # take keys that work from any address
    guards_every_s: Annotated[float, Field(gt=0, le=10)] = 1.0
    terms_every_s: Annotated[float, Field(gt=0, le=30)] = 20.0  # between two looks at both markets' terms
    accounts_every_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    on_restart: Literal["resume", "flatten"] = "resume"
    on_stop: Literal["keep", "flatten"] = "keep"
    keys_file: str = ""
    kill_file: str = "kill"

    @field_validator("pair", mode="before")
    @classmethod
    def _plain(cls, pair: Any) -> Any:
        return plain_pair(pair) if isinstance(pair, str) else pair

    @property
    def name(self) -> str:
        """Folder name of the pair, like LUNC_USDT-mexc-gate."""
        return pair_name(self.pair, self.spot.venue, self.perp.venue)

    @property
    def hedged_coins(self) -> float:
        """What reverse pairs are sold out of: without its short an inventory has nothing that they could unwind."""
        return self.inventory_coins if self.inventory_hedged else 0.0

    def bounds(self) -> Bounds:
        """What a parameter file may ask for; the deadline of a leg leaves room for two orders that were lost."""
        return replace(self.limits.bounds(), min_leg_deadline_s=2.0 * self.orders.unknown_s)

    def latency(self) -> Latency:
        return Latency(self.spot.latency_s, self.perp.latency_s)

    def terms(self) -> tuple[VenueTerms, VenueTerms]:
        """What was assumed of both venues, as the parameter file writes it."""
        return self.spot.terms(), self.perp.terms()

    def of_accounts(self, spot: VenueTerms, perp: VenueTerms) -> tuple[VenueTerms, VenueTerms]:
        """Both venues' own terms as the machine uses them."""
        return self.spot.of_account(spot), self.perp.of_account(perp)

    def require_explicit(self) -> None:
        """Real money wants its limits written down: none of the important ones may be a default."""
        wanted = ("max_clip_usdt", "max_position_usdt", "max_loss_day_usdt")
        missing = [f"limits.{name}" for name in wanted if name not in self.limits.model_fields_set]
        if missing:
            raise ParamsError(f"real money needs explicit limits: write {', '.join(missing)} into the configuration")


class Keys(_Section):
    """One venue's key; neither field shows itself."""

    key: SecretStr
    secret: SecretStr

    def ccxt(self) -> dict[str, str]:
        return {"apiKey": self.key.get_secret_value(), "secret": self.secret.get_secret_value()}


def read(path: Path) -> Config:
    """The configuration file; raises ParamsError with each name that is wrong."""
    try:
        return Config.model_validate(parsed(Path(path)))
    except ValidationError as error:
        raise ParamsError(f"{path}: {spoken(error)}; `delta-arb live example` shows every name") from None


def sample(
    pair: str = "SYN_USDT",
    contract_size: float = 10.0,
    inventory_coins: float = 0.0,
    fees_bps: tuple[float, float] = (5.0, 5.0),
) -> Config:
    """The configuration of the bundled sample on the local venues; fees of both legs' takers."""
    spot = VenueConfig(venue="mexc", taker_fee_bps=fees_bps[SPOT], min_notional_usdt=1.0)
    step = {"contract_size": contract_size, "qty_step": contract_size, "min_qty": contract_size}
    perp = VenueConfig(venue="gate", taker_fee_bps=fees_bps[PERP], **step)
    return Config(pair=pair, spot=spot, perp=perp, on_stop="flatten", inventory_coins=inventory_coins)


def keys(config: Config, folder: Path, environment: Mapping[str, str] = os.environ) -> tuple[Keys, Keys]:
    """Both venues' keys, from the environment or the private file; raises ParamsError where one is missing."""
    file = _private(folder / config.keys_file) if config.keys_file else {}
    return tuple(_keys(venue, file, environment) for venue in (config.spot.venue, config.perp.venue))


def alert_addresses(
    config: Config | None, folder: Path, environment: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """Where alerts go, from the environment or the private file; none where nobody wants any.

    Raises:
        ParamsError: the private file has something else under [alerts] than urls.
    """
    if words := environment.get("DELTA_ARB_ALERTS", "").split():
        return tuple(words)
    table = _private(folder / config.keys_file).get("alerts", {}) if config and config.keys_file else {}
    urls = table.get("urls", []) if isinstance(table, dict) else None
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise ParamsError(f"{folder / config.keys_file}: [alerts] needs urls, a list of texts")
    return tuple(urls)


def _keys(venue: str, file: Mapping, environment: Mapping[str, str]) -> Keys:
    names = [f"DELTA_ARB_{venue.upper()}_{part}" for part in ("KEY", "SECRET")]
    values = [environment.get(name, "") for name in names]
    if not any(values):
        table = file.get(venue, {})
        values = [table.get(part, "") for part in ("key", "secret")] if isinstance(table, dict) else ["", ""]
    if not all(isinstance(value, str) and value for value in values):
        raise ParamsError(
            f"no keys for {venue}: set {' and '.join(names)}, or name a private keys_file in the configuration"
        )
    return Keys(key=values[0], secret=values[1])


def _private(path: Path) -> dict:
    """A file of keys that nobody but its owner may read or write."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise ParamsError(f"{path}: no keys there ({error.strerror})") from None
    if mode & 0o077:
        raise ParamsError(
            f"{path}: mode {mode:o} lets others read the keys; chmod 600 it, and change the keys if others had access"
        )
    return parsed(path)
