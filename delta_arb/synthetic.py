"""`delta-arb synthetic`: quotes of two venues made by a known process, and the truth they were made from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from delta_arb.command import option, program
from delta_arb.places import to_write


@dataclass(frozen=True, slots=True)
class SyntheticOptions:
    """What is to be made, and where it goes."""

    out: Path = option(..., "folder to write into; made if missing", metavar="DIR")
    seed: int = option(7, "of every draw", min=0)
    hours: float = option(72.0, "length of the recording", min=0.01, max=8784.0)
    regime: Literal["sample", "random_walk", "no_edge", "frozen_leg"] = option("sample", "which world")
    force: bool = option(False, "overwrite files that are there")


def synthetic(options: SyntheticOptions) -> int:
    """Write SYNTHETIC two-venue quotes (spot.parquet, perp.parquet, funding.parquet) and their truth (truth.json).

    The defaults are the committed sample.
    """
    from delta_arb.quotes.synthetic import make, write
    from delta_arb.quotes.synthetic_spec import LEGS, World

    folder = to_write(options.out, "--out")
    recording = make(getattr(World, options.regime)(hours=options.hours), options.seed)
    paths = write(recording, folder, overwrite=options.force)
    rows = " and ".join(f"{len(getattr(recording, leg)['timestamp'])} {leg} rows" for leg in LEGS)
    print(f"synthetic, regime {options.regime}, seed {options.seed}: {rows} in {options.hours:g} h")
    for path in paths:
        print(f"{path}  {path.stat().st_size} bytes")
    return 0


main = program(
    SyntheticOptions,
    synthetic,
    "delta-arb synthetic --out data/walk --regime random_walk --hours 24 --seed 3",
    begun=True,
)


if __name__ == "__main__":
    raise SystemExit(main())
