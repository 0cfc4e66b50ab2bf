"""A recorded run as it was: decided again, and the way to it from the backtest of the quotes that it saw."""
