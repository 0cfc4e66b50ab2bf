#!/usr/bin/env bash
# mlfinpy 0.1.2: PurgedKFold, "the train is purged of observations overlapping test-label intervals".
# Expected: with labels that look 5 hours ahead, no training label ends inside a test fold.
# Seen: the fold is taken to begin where its first label ends, so that the observations before it stay: 5 in each fold that has
# a left neighbour (behind the fold they are dropped). A model that remembers its neighbour explains labels made of pure noise.
# What to do: drop the training rows whose label ends behind the first test stamp oneself.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlfinpy==0.1.2 scikit-learn==1.5.2 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

import numpy as np
import pandas as pd
from mlfinpy.cross_validation.cross_validation import PurgedKFold

ROWS, AHEAD = 100, 5
start = pd.date_range("2026-01-01", periods=ROWS, freq="h")
label_ends = pd.Series(start + pd.Timedelta(hours=AHEAD), index=start)
left, right = [], []
for train, test in PurgedKFold(n_splits=5, samples_info_sets=label_ends).split(pd.DataFrame({"x": np.zeros(ROWS)}, index=start)):
    train, first, last = np.array(train), test[0], test[-1]
    left.append(int(((train < first) & (train + AHEAD >= first)).sum()))
    right.append(int(((train > last) & (train <= last + AHEAD)).sum()))
print(f"mlfinpy {version('mlfinpy')}: training labels that overlap the fold from the left {left}, from the right {right}")

noise = np.random.default_rng(1).normal(size=200_000 + AHEAD)
labels = np.convolve(noise, np.ones(AHEAD), "valid")[1:][:199_999]  # the sum of the next 5 steps: nothing to predict
print(f"correlation of a noise label with the one before it: {np.corrcoef(labels[1:], labels[:-1])[0, 1]:.2f}")
assert left == [0, 5, 5, 5, 5] and right == [0] * 5
PY
