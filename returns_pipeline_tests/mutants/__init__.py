"""Mutants of the write protocol, and the script that shows that the tests kill them."""
