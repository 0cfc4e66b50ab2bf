"""Order rules from a venue's own list, saved to a file: Gate.io's futures contracts, MEXC's exchangeInfo.

Read here are what a contract is, its grids, minima and margin rules. Never its fees: the lists state defaults that
nobody pays (Gate.io's list of May 2023 says a taker pays 7.5 bps, accounts paid 5), so the account's fee is handed in.

    gate_contracts    JSON of GET /futures/usdt/contracts, or the same as a Parquet table
    mexc_symbols      JSON of GET /api/v3/exchangeInfo

A list or an object that holds one (`contracts`, `symbols`) is read alike.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from delta_arb.errors import DataError, ParamsError
from delta_arb.venue_terms import VenueTerms, in_base

GATE, MEXC = "gate", "mexc"


def gate_contracts(path: Path, taker_fee_bps: float) -> dict[str, VenueTerms]:
    """Perpetuals by their name (LUNC_USDT), all at the fee of the account; sizes in base units.

    Raises:
        DataError: the file is not there, is no contract list, or a contract lacks a rule.
    """
    return dict(_each(path, "contracts", lambda row: _gate(row, taker_fee_bps)))


def mexc_symbols(path: Path, taker_fee_bps: float) -> dict[str, VenueTerms]:
    """Spot markets by the project's name (LUNC_USDT), at the fee of the account; DataError like `gate_contracts`.

    Its quantity step is the number of digits of the base asset, its minima are `baseSizePrecision` and
    `quoteAmountPrecision`, both of which it calls precisions.
    """
    return dict(_each(path, "symbols", lambda row: _mexc(row, taker_fee_bps)))


READERS = {GATE: gate_contracts, MEXC: mexc_symbols}


def listed_terms(path: Path, venue: str, pair: str, taker_fee_bps: float) -> VenueTerms:
    """The order rules of one pair from a venue's list; DataError where the list does not name it."""
    if venue not in READERS:
        raise DataError(f"{path}: no reader for the lists of {venue!r}; they are known for {', '.join(READERS)}")
    listed = READERS[venue](path, taker_fee_bps)
    if pair not in listed:
        raise DataError(
            f"{path}: {venue} does not list {pair} there; it lists {len(listed)} others, fetch its list again"
        )
    return listed[pair]


def _each(path: Path, within: str, read) -> Iterator[tuple[str, VenueTerms]]:
    for row in _rows(Path(path), within):
        name = row.get("name") or row.get("contract") or row.get("symbol") or "a row without a name"
        try:
            yield read(row)
        except (KeyError, TypeError, ValueError, ParamsError) as error:
            raise DataError(
                f"{path}: {name} lacks an order rule or has a bad one ({error!r}); fetch the list again"
            ) from error


def _rows(path: Path, within: str) -> Iterable[Mapping[str, Any]]:
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            return pyarrow.parquet.ParquetFile(path).read().to_pylist()
        rows = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such list of instruments") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a list of instruments ({error})") from error
    rows = rows.get(within) if isinstance(rows, dict) else rows
    if not (isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows)):
        raise DataError(f"{path}: no list of {within} in it; save the venue's answer as it came")
    return rows


def _gate(row: Mapping[str, Any], taker_fee_bps: float) -> tuple[str, VenueTerms]:
    size = float(row["quanto_multiplier"]) or 1.0  # the venue writes 0 for a contract of one coin
    least = float(row["order_size_min"])
    step = least if row.get("enable_decimal") and 0 < least < 1 else 1.0  # contracts that trade in parts
    return row.get("name") or row["contract"], VenueTerms(
        venue=GATE,
        taker_fee_bps=taker_fee_bps,
        contract_size=size,
        qty_step=in_base(step, size),
        min_qty=in_base(max(step, least), size),
        price_tick=float(row["order_price_round"]),
        max_leverage=float(row["leverage_max"]),
        maintenance_rate=float(row["maintenance_rate"]),
    )


def _mexc(row: Mapping[str, Any], taker_fee_bps: float) -> tuple[str, VenueTerms]:
    step = 10.0 ** -int(row["baseAssetPrecision"])
    return f"{row['baseAsset']}_{row['quoteAsset']}", VenueTerms(
        venue=MEXC,
        taker_fee_bps=taker_fee_bps,
        qty_step=step,
        min_qty=max(step, float(row["baseSizePrecision"])),
        min_notional_usdt=float(row["quoteAmountPrecision"]),
        price_tick=10.0 ** -int(row["quoteAssetPrecision"]),
    )
