"""Arrow's columns as numpy arrays. Arrow's own `to_numpy` loads pandas wherever it is installed; these do not."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def integers(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """A column of integers without nulls."""
    pieces = [np.from_dlpack(chunk) for chunk in _chunks(column)]
    return np.concatenate(pieces) if len(pieces) != 1 else pieces[0]


def floats(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """A column of numbers as float64, null as NaN."""
    pieces = [np.from_dlpack(pc.fill_null(chunk.cast(pa.float64()), float("nan"))) for chunk in _chunks(column)]
    return np.concatenate(pieces) if len(pieces) != 1 else pieces[0]


def texts(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """A column as text, whatever it holds."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.string())


def _chunks(column: pa.ChunkedArray | pa.Array) -> list[pa.Array]:
    return column.chunks or [pa.array([], column.type)] if isinstance(column, pa.ChunkedArray) else [column]
