"""Market data files as people have them: which layout, which units, and the columns of ours in them.

    raw_table    a table as it lies in a typed file, a database, or in memory
    containers   bytes on disk, text too -> a table of named or numbered columns
    layouts      the declarative table of the layouts we know, and the names that columns go by
    recognise    which layout a table is in, with the answers of a user who knows better (`FormatOptions`)
    columns      times of any unit and zone -> int64 ns UTC; what numbers prove: order of prices, contracts or coins
    books        updates of an order book -> best bid and ask
    funding      rates as fractions, a row for each settlement
    read         all of it: a path -> `Reading`, columns as numpy arrays with what was recognised

What cannot be proven is refused with the question to answer and the option that answers it. Needs pyarrow and numpy
(pandas for HDF5 and tables in memory); imports nothing of this project but `errors` and `market`.
"""
