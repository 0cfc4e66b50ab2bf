#!/usr/bin/env bash
# stochastic 0.6.0: OrnsteinUhlenbeckProcess.sample, whose transition has an exact formula at any step.
# Expected: the variance of a stationary path is vol^2 / (2 speed), whatever the number of steps. Seen: paths are made by Euler's
# scheme, so that the variance depends on the grid: at a step of one relaxation time (1 / speed) it is twice the truth, as the
# scheme's theory says: 1 / (1 - speed step / 2). A half-life or a threshold tested on such paths is not that of the process.
# What to do: draw x exp(-speed step) + noise of variance vol^2 (1 - exp(-2 speed step)) / (2 speed) oneself; it is two lines.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check stochastic==0.6.0 'setuptools<81' 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

import numpy as np
from stochastic.processes.diffusion import OrnsteinUhlenbeckProcess

SPEED, STEPS = 20.0, 40_000
ratios = {}
for step in (0.05, 0.005):
    process = OrnsteinUhlenbeckProcess(speed=SPEED, vol=1.0, t=step * STEPS, rng=np.random.default_rng(7))
    path = process.sample(STEPS)[1000:]
    ratios[step] = path.var() / (1.0 / (2.0 * SPEED))
    print(f"stochastic {version('stochastic')}, {SPEED * step:g} relaxation times a step: variance {ratios[step]:.3f} of the true one")
assert 1.9 < ratios[0.05] < 2.1 and 1.0 < ratios[0.005] < 1.12
PY
