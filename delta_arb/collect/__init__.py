"""History of other people's making: months of candles and funding, from any two venues of ccxt.

download         what is asked for, what is there, what is missing
history          pages put together
venue_history    one venue's public REST over ccxt: weights, Retry-After, its limits
history_store    Parquet by venue, market, pair, dataset and month
"""
