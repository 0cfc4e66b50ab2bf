"""A page on this machine that shows the runners of a reports folder while they trade; a process of its own.

journal_view    what a journal says, read beside its runner
runners         each runner: its socket's answer, its journal, the edge of the last hours
orders          stop, flatten, resume, kill: with the token, a name, a reason and a typed confirmation
server          the page, its events and its buttons over HTTP, for 127.0.0.1 alone
"""
