"""The pair machine: its state, the one decision, sizes on both venues' grids, and the one money identity."""
