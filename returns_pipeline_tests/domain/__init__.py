"""Tests of the business rules: pure, no Dagster, no database, no network."""
