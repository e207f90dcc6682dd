"""Payload to typed values, pure: one module a vendor, and nothing else knows its names.

A field that cannot be read is a fact about the data (``problems``), never an exception;
personal data is dropped here, before anything is stored.
"""
