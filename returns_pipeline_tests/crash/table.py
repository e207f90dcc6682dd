"""The table of a crash matrix, as it is printed and kept."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from returns_pipeline_tests.crash.edges import MOMENTS
from returns_pipeline_tests.crash.matrix import DAY, Matrix, Outcome

# What the recovery did, by the step that the outbox notes for it.
_STATES = {
    "lease": "a claim found whose worker had died",
    "found": "a write found to have happened, and not repeated",
    "absent": "a write found not to have happened, and sent again",
}


@dataclass(slots=True)
class Told:
    """What came of the points of one database."""

    name: str
    matrix: Matrix
    points: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)
    phases: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    problems: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    twice: int = 0
    twice_failed: int = 0
    ended_before: int = 0
    seconds: float = 0.0
    began: float = field(default_factory=time.monotonic)
    took: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count one."""
        edge = outcome.point.edge
        self.seconds += outcome.seconds
        self.took = time.monotonic() - self.began
        self.states.update(step for step in outcome.steps if step in _STATES)
        if outcome.problems:
            self.problems[words(outcome)] = outcome.problems
        if outcome.point.again_at:
            self.twice += outcome.killed_twice
            self.ended_before += not outcome.killed_twice
            self.twice_failed += bool(outcome.problems)
            return
        self.phases[DAY[outcome.point.phase].name] += 1
        self.points[edge.what, edge.moment] += 1
        self.failed[edge.what, edge.moment] += bool(outcome.problems)

    @property
    def failures(self) -> int:
        """Points that did not end as they must; a clean day that did not is one too."""
        clean = len(self.matrix.clean.problems)
        return self.failed.total() + self.twice_failed + clean


def words(outcome: Outcome) -> str:
    """One point and what came of it."""
    point = outcome.point
    again = f", killed again at {point.again_at}" if point.again_at else ""
    came = "; ".join(outcome.problems) or f"as it must be ({dict(outcome.steps)})"
    return (
        f"point {point.number}, {DAY[point.phase].name}, {point.edge.what} "
        f"{point.edge.number} {point.edge.moment}{again}: {came} [{outcome.seconds:.1f} s]"
    )


def page(told: list[Told]) -> str:
    """All of it, in Markdown."""
    return _HEAD + "\n".join(_section(one) for one in told)


_HEAD = """# Crash matrix

Written by `make crash-matrix`; with `MATRIX=--reduced` fewer returns, every edge all the same. One
point again, by the number that a failure names:
`.venv/bin/python -m returns_pipeline_tests.crash --database sqlite --point 17`.

A day's work (evening sync, closing, morning sync) runs as a process against the sandbox vendors
over HTTP. A clean run counts its edges: every write to a vendor, every commit that changed a row.
Then the day is lived again, once for each edge, and the process is killed there with SIGKILL:
before the request is sent; after the vendor has done it and before it answers (the vendor's
process kills); after the answer; before the commit; right after it. What was killed is begun
again half an hour later by the clock (settle time 60 s, lease 5 min), and the day and the next
closing are lived to the end. Some points are killed once more while they recover. Linnworks here
is of the harsher kind: a booking actioned twice posts twice, a refund actioned twice pays twice.

A point fails unless the process died where it was to die and, at the end,

- Linnworks' books are those of the world's ground truth, order by order: units restocked twice,
  lost or in the wrong place 0; refunds twice, lost or a penny off 0; replacements twice or lost
  0; and no more stock movements, refunds, replacements or open bookings than on the clean day;
- every sealed batch, its lines, its hash and its journal files are the clean day's, byte for
  byte, and every posting is in exactly one batch;
- the invariants of production hold, and nobody has another task than the ground truth names;
- a further sync writes nothing to a vendor and changes no row, but for when something was last
  asked.

"""


def _section(told: Told) -> str:
    world = told.matrix.world
    summary = (
        f"{len(world.expected)} units in {len({u.order_number for u in world.units})} orders; "
        f"points {told.points.total()} "
        f"({', '.join(f'{name} {n}' for name, n in told.phases.items())}), "
        f"failures {told.failed.total()}; killed twice {told.twice} (of "
        f"{told.twice + told.ended_before} tried: the others had recovered before), failures "
        f"{told.twice_failed}. {told.took:.0f} s in all, "
        f"{told.seconds / max(1, _all(told)):.2f} s a point and process."
    )
    lines = [
        f"## {told.name}",
        "",
        summary,
        "",
        "Points / failures:",
        "",
        f"| edge | {' | '.join(MOMENTS)} |",
        f"| --- | {' | '.join('---' for _ in MOMENTS)} |",
    ]
    whats = dict.fromkeys(what for what, _moment in told.points)
    for what in sorted(whats, key=lambda one: (one.startswith("commit"), one)):
        cells = [_cell(told, what, moment) for moment in MOMENTS]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    lines += ["", "What the recoveries met, in points:", ""]
    lines += [f"- {words}: {told.states[step]}" for step, words in _STATES.items()]
    lines += [f"- FAILED: {one}" for one in told.problems]
    lines += [f"- FAILED without a kill: {one}" for one in told.matrix.clean.problems]
    return "\n".join([*lines, ""])


def _all(told: Told) -> int:
    return told.points.total() + told.twice + told.ended_before


def _cell(told: Told, what: str, moment: str) -> str:
    points = told.points[what, moment]
    return f"{points} / {told.failed[what, moment]}" if points else ""
