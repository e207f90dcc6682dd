"""Alembic's folder: ``env.py`` runs the versions on the connection ``storage.migrate`` gives."""
