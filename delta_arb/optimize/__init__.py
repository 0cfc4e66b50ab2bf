"""From a tape to a parameter file: search, walk-forward, gates, champion and challenger."""
