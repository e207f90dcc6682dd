"""The two vendors over HTTP: what can be asked and told, and what went wrong.

Here: one module a vendor, and ``transport`` beneath them. Not here: what the answers mean
(``normalise``), when a write may be sent and how an unknown one is settled (``dispatch``).
"""
