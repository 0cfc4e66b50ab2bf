"""Market data files as people have them: which layout, which units, and the columns of ours in them.

    containers   bytes on disk -> a table of named or numbered columns (by `text`, `typed` and `databases`)
    layouts      the declarative table of the layouts we know, and the names that columns go by
    recognise    which layout a table is in, with the answers of a user who knows better (`FormatOptions`)
    proofs       what the numbers themselves say: unit of time, order of prices, contracts or coins
    stamps       times of any unit and zone -> int64 ns UTC
    books        updates of an order book -> best bid and ask
    read         all of it: a path -> `Reading`, columns as numpy arrays with what was recognised

What cannot be proven is refused with the question to answer and the option that answers it. Needs pyarrow and numpy
(pandas for HDF5 and tables in memory); imports nothing of this project but `errors` and `market`.
"""
