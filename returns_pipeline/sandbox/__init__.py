"""The two vendors as local HTTP servers with state, faults and a seeded world.

Written from the published contracts alone. Nothing here imports the pipeline, so that
it cannot share the pipeline's mistakes; only ``cli`` and the tests import it.
"""
