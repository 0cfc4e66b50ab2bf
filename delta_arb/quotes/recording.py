"""`read_quotes`: both legs and the funding history of somebody's quotes, as one tape that knows where it came from.

A `RecordedTape` is a `Tape` with its `Inputs` (files, pair, what the venues list) and its funding stamps, so that a market
can be made from it, and titles can name it. Files are described by `Inputs` itself, tables in memory by `TableInputs`.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from delta_arb.command import moment
from delta_arb.errors import ParamsError
from delta_arb.market import MS, FundingPayment
from delta_arb.quotes import data_folder
from delta_arb.quotes.inputs import NONE, Inputs
from delta_arb.quotes.tape import Tape

if TYPE_CHECKING:
    from pandas import DataFrame

PAIR = "COIN_USDT"  # of quotes whose pair nobody named
IN_MEMORY = "table in memory"
OF_MARKET = re.compile(r".*_fee_bps|.*_latency|spot_fee_in|leverage|(spot|perp)_usdt|transfer_.*|inventory_coins")


@dataclass(frozen=True)
class TableInputs(Inputs):
    """Inputs of which some are pandas tables; `tables` has them by leg, and their paths say `IN_MEMORY`."""

    tables: Mapping[str, "DataFrame"] = field(default_factory=dict, repr=False, compare=False)

    def source(self, leg: str):
        return self.tables.get(leg, getattr(self, leg))

    def digest(self, leg: str) -> str:
        """SHA-256 of the table's values with their index; of a file, of its bytes."""
        import pandas as pd

        if leg not in self.tables:
            return Inputs.digest(self, leg)
        return hashlib.sha256(pd.util.hash_pandas_object(self.tables[leg]).to_numpy().tobytes()).hexdigest()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RecordedTape(Tape):
    """A tape that knows where it came from: `inputs` describe the files or tables, `payments` are the funding stamps."""

    inputs: Inputs | None = None
    payments: tuple[FundingPayment, ...] = ()

    def __repr__(self) -> str:
        paid = f"{len(self.payments)} funding stamps" if self.payments else "funding left out"
        return f"{self.inputs.name}: {Tape.__repr__(self)}, {paid}" + (
            f", {self.inputs.mark}" if self.inputs.mark else ""
        )

    def _repr_html_(self) -> str:
        """The recording and what its checks found."""
        quality = self.quality._repr_html_() if self.quality else ""
        return f"<p><b>{self!r}</b></p>{quality}"


def read_quotes(
    spot=None, perp=None, *, funding=None, contract_size: float = 0.0, pair: str = PAIR, data=None, **options
) -> RecordedTape:
    """The quotes of both legs as one tape, read, checked row by row and aligned on one clock.

    Args:
        spot, perp: of each leg a file, a folder of files, or a table (pandas, Arrow, polars); quotes, or candles with both
            half-spreads.
            Our columns are timestamp, bid_price, bid_quantity, ask_price, ask_quantity (UTC, USDT per coin, coins or
            contracts); a time index and the usual other names and layouts are recognised, and named in `.quality`.
        funding: the funding history (timestamp, funding_rate as a fraction of an interval), in any of these forms, or
            "none" to leave funding out of every figure.
        contract_size: coins of one contract of the perpetual; 1 where its sizes are coins.
        pair: its name, like LUNC_USDT or LUNC/USDT.
        data: instead of `spot` and `perp` the folder or URL that `download` and `record` wrote; with it since and until, UTC, like
            "2026-01-31" or "2026-01-31T08:00".
        options: any field of `Inputs` that says something about the quotes or about what the venues list, such as
            spot_kind="snapshots", spot_venue, perp_feed_latency (s), spot_half_spread_bps, perp_rules.

    Returns:
        The events of both legs in time order (a `Tape`), as far as funding is known.

    Raises:
        ParamsError: an option out of bounds, unknown, or missing.
        DataError: quotes that cannot be used; it names file, row and remedy.
    """
    if data is not None:
        if spot is not None or perp is not None:
            raise ParamsError("data finds the quotes of both legs itself; leave spot and perp away")
        return _from_folder(
            str(data), {"pair": pair, "funding": funding or "", "contract_size": contract_size} | options
        )
    given = {"spot": spot, "perp": perp, "funding": funding}
    _check(given, options)
    tables = {leg: _frame(leg, value) for leg, value in given.items() if not isinstance(value, str | Path)}
    paths = {leg: IN_MEMORY if leg in tables else str(value) for leg, value in given.items()}
    made = {"contract_size": float(contract_size), "pair": pair, **paths, **options}
    inputs = TableInputs(**made, tables=tables) if tables else Inputs(**made)
    return recording(inputs)


def _from_folder(data: str, given: dict) -> RecordedTape:
    bounds = [moment(text) * MS if (text := given.pop(name, None)) else 0 for name in ("since", "until")]
    venues = (given.get(f"{leg}_venue", getattr(Inputs(), f"{leg}_venue")) for leg in ("spot", "perp"))
    found = data_folder.found(data_folder.DataRequest(data, given["pair"], *venues, *bounds), given)
    return read_quotes(**given | found)


def recording(inputs: Inputs) -> RecordedTape:
    """The recording that some inputs describe."""
    tape = inputs.tape()
    columns = {f.name: getattr(tape, f.name) for f in fields(Tape)}
    return RecordedTape(**columns, inputs=inputs, payments=inputs.payments(tape))


def _check(given: Mapping, options: Mapping) -> None:
    """Refuse what `Inputs` would say in the words of the commands."""
    for leg in ("spot", "perp"):
        if given[leg] is None or (isinstance(given[leg], str) and not given[leg]):
            raise ParamsError(f"give the quotes of the {leg} leg: a file, a folder or a DataFrame")
    if given["funding"] is None:
        raise ParamsError('give the funding history (funding=...), or say that it is left out with funding="none"')
    if costs := [name for name in options if OF_MARKET.fullmatch(name) and "feed" not in name]:
        raise ParamsError(
            f"{', '.join(costs)}: fees, latencies, leverage and wallets belong to da.Market, not to the quotes"
        )
    if unknown := sorted(options.keys() - {f.name for f in fields(Inputs)}):
        raise ParamsError(
            f"without data=, read_quotes has no option {', '.join(unknown)}; see the fields of delta_arb.quotes.inputs.Inputs"
        )


def _frame(leg: str, table) -> "DataFrame":
    """A table in memory as pandas has it; Arrow's and polars' come by the Arrow stream that they offer."""
    import pandas as pd
    import pyarrow as pa

    if not isinstance(table, pd.DataFrame):
        if not hasattr(table, "__arrow_c_stream__"):
            raise ParamsError(f"{leg} is a file, a folder or a DataFrame, was {type(table).__name__}")
        table = pa.table(table).to_pandas()
    if not table.columns.is_unique:
        twice = ", ".join(map(str, table.columns[table.columns.duplicated()]))
        raise ParamsError(f"the {leg} table has several columns of the name {twice}; keep one")
    return table


__all__ = ["NONE", "RecordedTape", "TableInputs", "read_quotes", "recording"]
