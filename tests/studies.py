"""Small studies for the tests of tables and figures: a world to trade, one without an edge, one with a frozen leg."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from delta_arb import basis, costs, optimize, params, synthetic, tearsheet
from delta_arb.inputs import Inputs
from delta_arb.tape import Tape

SETTINGS = params.RuleParams(entry_bps=None, exit_bps=None, max_hold_s=3600.0, clip_usdt=50.0)
CONSTRAINTS = optimize.Constraints(max_hold_s=3600.0, look_back_h=24.0)
FOLDERS: list[TemporaryDirectory] = []  # of the quotes, which are read again for their digests; removed at the end


@dataclass(frozen=True)
class Study:
    """One recording, looked at and chosen from."""

    inputs: Inputs
    tape: Tape
    basis: basis.Basis
    market: optimize.Market
    stack: costs.CostStack
    choice: optimize.Choice
    sheet: tearsheet.TearSheet


@cache
def study(regime: str, hours: float = 24.0) -> Study:
    """A study of one synthetic world, made once per test run."""
    FOLDERS.append(TemporaryDirectory(prefix="delta_arb-test-"))
    folder = Path(FOLDERS[-1].name)
    world = getattr(synthetic.World, regime)(hours=hours)
    synthetic.write(synthetic.make(world, 11), folder)
    files = {leg: str(folder / f"{leg}.parquet") for leg in ("spot", "perp")}
    inputs = Inputs(**files, funding="none", pair="SYN_USDT", contract_size=10.0)
    tape = inputs.tape()
    seen = basis.of(tape, inputs, 1.0)
    market = optimize.market(inputs, tape, SETTINGS)
    choice = optimize.choose(tape, market, CONSTRAINTS)
    candidate = optimize.candidate(choice, inputs, tape, valid_for_s=3600.0, notebook="test", run_id="test")
    sheet = tearsheet.of(tape, market, candidate, CONSTRAINTS)
    return Study(inputs, tape, seen, market, costs.stack(tape, seen, inputs), choice, sheet)
