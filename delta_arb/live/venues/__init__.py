"""What is asked of a venue, and its answers over ccxt: orders, books, accounts, keys."""
