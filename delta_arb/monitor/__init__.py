"""A page on this machine that shows the runners of a reports folder while they trade; a process of its own."""
