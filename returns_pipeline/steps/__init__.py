"""The daily work, one function a step: read, decide with ``domain``, write at once.

Each step takes the ``Runtime``, does its reading, deciding and writing in short
transactions (never across a vendor call), and returns plain counts. Steps know nothing of
Dagster: ``defs`` makes assets of them. Rules belong to ``domain``, queries used by more
than one step to ``storage.records``.
"""
