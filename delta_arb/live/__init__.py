"""The async runner: drives the pair machine with quotes, reports and timers, on paper or with real orders.

runner      the one owner of the machine's state: journals, then acts
broker      what goes out and what comes back, whoever fills
journal     SQLite, written before anything is done about it
events      every event that the machine was told, to decide it again
replay      recorded quotes as a feed, in their own time
paper       a venue pair that fills by the backtest's fill rule
purse       live paper's wallets over restarts

session     one pair on two venues: quotes, timers, tasks beside it, start, stop
desk        what a session works with
dealer      hands the machine its events, and rings its timer
restart     where an earlier run stopped
executor    orders on the wire, asked about until their end is known
watch       both accounts against the journal; facts for the guards
accounts    differences, and the transfer to make (pure)
guards      one number each: no entries, leave, halt (pure)
risk        what guards, halts and a failing journal hold back
funding     settled stamps to expect by, and each one while it passes

venue       what is asked of a venue; exchange, mexc, gate, clients, quotes, stream answer it over ccxt
config      one TOML file, and keys from elsewhere; example prints one
connect     the venues of a configuration; the local ones
preflight   --check; its rows are in checks, and what keys may do in rights
control     status, stop, flatten, resume
trading     sessions one after the other; the command's modes
jobs        from options to one run; commands, replaying: the rest of the command
clock, say  our wall clock; every line headed by its mode
"""
