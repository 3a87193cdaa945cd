"""Stop abuse before it costs money: the rules as data, and what each decides. No I/O, no clock.

What a rule counts is kept in Redis and decided there, by the scripts. The same decisions are written here once more,
over states in memory: the oracle of the scripts' tests.
"""
