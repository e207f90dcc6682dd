"""Tests of the reports: what is set out, pure."""
