"""A month of finance: lived day by day, corrected, run again, backfilled, compared byte by byte.

``python -m returns_pipeline_tests.month`` does it with tens of thousands of refunds
(``make month``); a reduced one is part of the suite.
"""
