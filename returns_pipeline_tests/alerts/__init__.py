"""Alerts from what is stored to what a receiver on this machine gets."""
