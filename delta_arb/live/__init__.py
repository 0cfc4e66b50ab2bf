"""The asyncio runner: drives the pair machine with quotes, reports and timers, on paper or with real orders.

    quotes of both venues -> event_loop -> runner -> decide -> journal -> executor -> venues/
                                  ^                                          |
                                  +---------- reports: fills, refusals ------+

One pair
    session      one pair on two venues: starts, trades, stops; `resources` is what it works with
    event_loop   hands the machine its events one after the other, and rings its timer
    runner       the one owner of the machine's state: journals, then acts
    executor     orders on the wire, looked up until their end is known
    paper        a venue pair that fills by the backtest's fill rule, with wallets that survive a restart
    replay       recorded quotes in their own time: `--replay`
What it knows
    parameters   the newest exported parameters, reloaded and refused
    market_watch settled funding to expect by, each stamp as it passes, and what both markets list against what they were opened with
    journal      SQLite, written before it is acted upon; `durability` brings it to the disk
    event_log    every event of the machine, from which its decisions can be repeated
    recovery     where an earlier run stopped
What keeps it safe
    guards       one number each: no entries, leave, halt; and what they allow now
    reconcile    both accounts against the journal; `accounts` are the differences, and the transfer to make
    messages     lines headed by their mode, and what rings a person, by apprise; `monitoring` is what others see
    preflight    --check; its rows are in `checks`
Around it
    config       one TOML file, and keys from elsewhere; `example` prints one
    supervisor   sessions one after the other, each begun from the journal
    watch        a process of its own, for when the runner is silent; and the limits of an account
    control      status, stop, flatten, resume through a socket
    cli          from the command line to one run; `local_venues` starts those of --sandbox
    clock        our wall clock
    venues/      what is asked of a venue (base), answered by MEXC and Gate over ccxt
"""
