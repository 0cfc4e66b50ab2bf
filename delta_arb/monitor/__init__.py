"""A page on this machine that shows the runners of a reports folder while they trade; a process of its own.

runners         each runner: its socket's answer, what its journal says, the edge of the last hours
server          the page and its events over HTTP, for 127.0.0.1 alone; stop, flatten, resume, kill: with the token, a name, a
                reason and a typed confirmation
"""
