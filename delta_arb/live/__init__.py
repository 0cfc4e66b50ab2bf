"""The async runner: drives the pair machine with quotes, reports and timers, on paper for now.

runner      the one owner of the machine's state: journals, then acts
journal     SQLite, written before anything is done about it
paper       a venue pair that fills by the backtest's fill rule
replay      recorded quotes as a feed, in their own time
"""
