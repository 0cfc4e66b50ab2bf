"""Small studies for the tests of tables and figures: a world to trade, one without an edge, one with a frozen leg."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from delta_arb import params
from delta_arb.optimize import export, search
from delta_arb.optimize.study import Constraints, Market
from delta_arb.optimize.study import market as market_of
from delta_arb.optimize.verdict import Verdict, judge
from delta_arb.quotes import synthetic
from delta_arb.quotes.inputs import Inputs
from delta_arb.quotes.tape import Tape
from delta_arb.report import choice_tables, tearsheet
from delta_arb.stats.basis import Basis, basis_of

SETTINGS = params.Rule(entry_bps=None, exit_bps=None, max_hold_s=21_600.0, clip_usdt=50.0)
CONSTRAINTS = Constraints(max_hold_s=21_600.0, look_back_h=24.0)
FOLDERS: list[TemporaryDirectory] = []  # of the quotes, which are read again for their digests; removed at the end


@dataclass(frozen=True)
class Study:
    """One recording, looked at and chosen from."""

    inputs: Inputs
    tape: Tape
    basis: Basis
    market: Market
    stack: choice_tables.CostStack
    choice: search.Choice
    verdict: Verdict
    sheet: tearsheet.TearSheet


@cache
def study(regime: str) -> Study:
    """A study of one synthetic world, made once per test run."""
    FOLDERS.append(TemporaryDirectory(prefix="delta_arb-test-"))
    folder = Path(FOLDERS[-1].name)
    world = getattr(synthetic.World, regime)(hours=72.0 if regime == "sample" else 24.0)
    synthetic.write(synthetic.make(world, synthetic.SAMPLE_SEED), folder)
    files = {leg: str(folder / f"{leg}.parquet") for leg in ("spot", "perp")}
    inputs = Inputs(**files, funding="none", pair="SYN_USDT", contract_size=10.0)
    tape = inputs.tape()
    seen = basis_of(tape, inputs.fees_bps, 1.0)
    market = market_of(inputs, tape, SETTINGS)
    choice = search.choose(tape, market, CONSTRAINTS)
    verdict = judge(tape, choice)
    candidate = export.candidate(verdict, inputs, tape, valid_for_s=3600.0, notebook="test", run_id="test")
    sheet = tearsheet.tear_sheet(tape, market, candidate, CONSTRAINTS)
    return Study(inputs, tape, seen, market, choice_tables.cost_stack(tape, seen, inputs), choice, verdict, sheet)
