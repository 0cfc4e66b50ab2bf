"""Quotes in: files, checks row by row, one event tape of both legs; candles as quotes; made quotes with the truth beside them."""
