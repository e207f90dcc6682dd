"""The acting side in one process under a virtual clock, seeded; every invariant at every step.

``vendor`` is Linnworks behind the client's connection, with every fate a request can have;
``oracle`` sees both sides and holds the invariants; ``story`` is one seed: workers, crashes,
staff, the clock. ``python -m returns_pipeline_tests.simulation`` runs and replays seeds.

No threads and no sockets: a second worker runs inside the first one's pauses, at any edge of
its work (before and after each request's effect, before each transaction).
"""
