#!/usr/bin/env bash
# arch 8.0.0: arch.bootstrap.SPA with studentize=True, its default.
# Expected: each mean of loss differentials is divided by its error (Hansen 2005, J. Business & Economic Statistics 23(4)), so that
# the units of one model's losses say nothing about another model.
# Seen: raw means are compared, with studentize as without: a model without an edge whose losses are 50 times as wide hides one with an edge.
# What to do: divide every column by its own standard deviation first, or use a test of one's own.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check arch==8.0.0 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import arch
import numpy as np
from arch.bootstrap import SPA

gains = np.random.default_rng(0).normal(0.0, 1.0, (400, 2)) + np.array([0.2, 0.0])
found = {}
for name, width in {"alike": 1.0, "50 times as wide": 50.0}.items():
    losses = -gains * np.array([1.0, width])
    losses[:, 1] -= losses[:, 1].mean()  # no edge at all in this sample
    for studentize in (True, False):
        test = SPA(np.zeros(400), losses, block_size=4, reps=2000, studentize=studentize, seed=3)
        test.compute()
        found[name, studentize] = test.pvalues["consistent"]
        print(f"arch {arch.__version__}, second model {name}, studentize={studentize}: p {test.pvalues['consistent']:.3f}")
assert found["alike", True] < 0.05
assert found["50 times as wide", True] == found["50 times as wide", False] > 0.3
PY
