"""Speaking to the vendors: transport, and one client a vendor.

Clients return typed values or undecoded slices and raise errors typed by what to do next
(``transport``). They keep nothing, decide nothing and never log a body, a secret or a
query.
"""
