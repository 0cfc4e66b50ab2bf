"""Own data: months of candles and funding from any two venues of ccxt, and quotes of many pairs as they come.

download         what is asked for, what is there, what is missing
history          pages put together
venue_history    one venue's public REST over ccxt: weights, Retry-After, its limits
history_store    Parquet by venue, market, pair, dataset and month
recorder         one venue's sockets, and what is asked beside
compact          finished streams to Parquet
record_session   the command at work
"""
