"""Tests of the commands: what a person or a script gets, on real databases and processes."""
