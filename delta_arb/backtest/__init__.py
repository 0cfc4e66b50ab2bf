"""The machine replayed over a tape, once or for thousands of rules, and what its trades were worth."""
