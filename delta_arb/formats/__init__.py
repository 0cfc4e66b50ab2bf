"""Market data files as people have them: which layout, which units, and the columns of ours in them (docs/rooms/formats.md).

What cannot be proven is refused with the question to answer and the option that answers it. Needs pyarrow and numpy
(pandas for HDF5 and tables in memory); imports nothing of this project but `errors` and `market`.
"""
