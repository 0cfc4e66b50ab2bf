#!/usr/bin/env bash
# order-book 0.6.1, the book beneath cryptofeed (1.1.0, for newer Pythons, does the same): OrderBook(checksum_format=...).checksum() of
# a book whose prices lie below a millionth, such as 0.000000987, or that holds a size of 0.00000012, of Decimals from the venue's text.
# Expected: the CRC-32 of the venue's own text, price:size of the bids and asks in turn, which Bitget and OKX document alike; here from zlib.
# Seen: right for OKX and for Kraken's own form; for Bitget right down to 0.00000123, and below it the sum is of 9.87E-7, as Python
# writes such a Decimal. A correct book is then taken for a broken one with every message: a client that resubscribes on a wrong
# checksum never comes to rest on that coin, and one dust order of another coin is enough.
# What to do: compute the sum oneself from format(number, "f"), or switch the check off for such coins.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check order-book==0.6.1 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import zlib
from decimal import Decimal
from importlib.metadata import version

from order_book import OrderBook


def interleaved(bid, ask):
    return zlib.crc32(":".join(bid + ask).encode())


def kraken(bid, ask):
    return zlib.crc32("".join(text.replace(".", "").lstrip("0") for text in ask + bid).encode())


books = {
    "prices at 90,000": ("90000.0", "90000.1", "0.5"),
    "prices at 0.00000123": ("0.00000123", "0.00000124", "5000000"),
    "prices at 0.000000987": ("0.000000987", "0.000000988", "5000000"),
    "a size of 0.00000012": ("90000.0", "90000.1", "0.00000012"),
}
wrong = []
for name, (bid, ask, size) in books.items():
    for venue, truth in {"BITGET": interleaved, "OKX": interleaved, "KRAKEN": kraken}.items():
        book = OrderBook(checksum_format=venue)
        book.bids[Decimal(bid)] = book.asks[Decimal(ask)] = Decimal(size)
        text = [bid, size], [ask, size]
        print(f"order-book {version('order-book')}, {name}, {venue}: {book.checksum()}, true {truth(*text)}")
        if book.checksum() != truth(*text):
            wrong.append((name, venue))
            assert book.checksum() == truth(*([str(Decimal(number)) for number in level] for level in text))  # of 9.87E-7
assert wrong == [("prices at 0.000000987", "BITGET"), ("a size of 0.00000012", "BITGET")]
PY
