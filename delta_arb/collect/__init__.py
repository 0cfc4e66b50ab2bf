"""Own data: months of candles and funding from any two venues of ccxt, and quotes of many pairs as they come.

download         what is asked for, what is there, what is missing
history          one venue's public REST over ccxt, pages put together; Parquet by venue, market, pair, dataset and month
recorder         one venue's sockets, and what is asked beside
recording_files  rows to streams, finished streams to Parquet, what is kept
aside            compaction and settled funding, in processes of their own
record_session   the command at work
"""
