"""The business rules: pure functions over frozen values, standard library only.

No clock, no input or output, no logging: `now` is an argument. What can go wrong with
*data* is a value (``Orphan``, ``Held``); an exception here means a defect.
"""
