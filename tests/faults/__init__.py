"""The fault programme: what may go wrong, tried many times, with a table of what was lost.

`make faults` runs all of it for an hour, `make faults PART=simulator` one part, `make test` a short
form of each. `docs/reliability.md` has the figures.
"""
