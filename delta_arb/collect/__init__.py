"""Own data: months of candles and funding from any two venues of ccxt, and quotes of many pairs as they come."""
