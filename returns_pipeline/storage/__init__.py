"""What the pipeline remembers: tables, migrations, records, the outbox.

SQLAlchemy Core only, on SQLite and PostgreSQL alike. Rules belong to ``domain``, vendors to
``clients``; nothing here calls either a vendor or Dagster.
"""
