"""The database fails in the middle of a day's work, and comes back.

``python -m returns_pipeline_tests.database_faults`` runs many points (``make database-faults``).
"""
