"""A fortnight of trouble at a merchant's, and its repair: what the exception queue must say.

``python -m returns_pipeline_tests.fortnight`` lives it and prints what came up. The troubles
and what must come of them are told by hand in ``troubles``; living it is ``life``'s.
"""
