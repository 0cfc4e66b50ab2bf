"""Two venues behind one protocol: `base` is what the runner asks, `mexc` and `gate` answer over ccxt (docs/rooms/live.md)."""
