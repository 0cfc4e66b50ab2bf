"""Two venues behind one protocol.

base              what the runner asks of a venue, and its answers as values
factory           the two venues of a configuration
ccxt_venue        what MEXC and Gate have in common; mexc, gate fill in what differs
ccxt_orders       how orders leave, and what is known of each
ccxt_client       genuine ccxt set up for trading, its errors told apart, a budget of requests, the clock
order_connection  the connection kept for orders; order_tracker finds out the end of each, once
book_feed         the newest quote of a leg, and whether it can be believed
websocket         one stream that is dialled, subscribed, read and dialled again
key_permissions   what a key may do besides trading
"""
