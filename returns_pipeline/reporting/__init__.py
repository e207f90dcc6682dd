"""Results as files for people and their ledgers: journals, workbooks, pages. Pure.

What the figures are is decided below; here they are only set out.
"""
