"""Every vendor write and every commit of a day's work, killed there and taken up again.

``python -m returns_pipeline_tests.crash`` runs the whole matrix (``make crash-matrix``).
"""
