"""A merchant's days over real sockets under every fate that a request can have, seeded.

``python -m returns_pipeline_tests.storms`` runs hundreds of seeds (``make storms``).
"""
