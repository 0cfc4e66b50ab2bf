"""The asyncio runner: drives the pair machine with quotes, reports and timers, on paper or with real orders.

    quotes of both venues -> event_loop -> runner -> decide -> journal -> executor -> venues/
                                  ^                                          |
                                  +---------- reports: fills, refusals ------+

docs/rooms/live.md says what each file is for.
"""
