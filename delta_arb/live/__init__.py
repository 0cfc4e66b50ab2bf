"""The async runner: drives the pair machine with quotes, reports and timers, on paper for now.

runner      the one owner of the machine's state: journals, then acts
journal     SQLite, written before anything is done about it
paper       a venue pair that fills by the backtest's fill rule
venue       what the runner asks of a venue
mexc, gate  the real ones, over genuine ccxt; exchange, clients, stream and quotes are what they share
replay      recorded quotes as a feed, in their own time
"""
