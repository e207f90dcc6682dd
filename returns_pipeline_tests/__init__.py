"""Tests of returns_pipeline, one folder a room."""
