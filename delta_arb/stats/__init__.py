"""Does the basis revert, how fast and how surely: estimates under noise, optimal thresholds, tests that pay for many tries."""
