"""What a run of storms says: how often each fate came to each kind of request, and what failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from returns_pipeline_tests.storms.storm import READINGS, Outcome
from returns_pipeline_tests.storms.weather import FATES, LOOK_UPS, READS, STALE, WRITES

_KINDS = (*WRITES, READS, LOOK_UPS)
# What the program did about it, by the step that the outbox notes.
_STEPS = {
    "unknown": "answers that were lost",
    "found": "of these found to have happened, and not repeated",
    "absent": "of these found not to have happened, and sent again",
    "not_applied": "writes surely not applied, sent again later",
    "rate_limited": "writes told to wait",
    "adopted": "writes found done already when looked at before sending",
    "late": "claims that were taken over by another worker",
    "suspense": "writes put before a person",
}


@dataclass
class Told:
    """What came of the seeds on one database."""

    database: str
    seeds: int = 0
    met: Counter[tuple[str, str]] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    readings: Counter[tuple[object, ...]] = field(default_factory=Counter)
    compared: Counter[str] = field(default_factory=Counter)
    failed: list[Outcome] = field(default_factory=list)
    failed_runs: int = 0
    seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count one seed."""
        self.seeds += 1
        self.met.update((one.fate, one.kind) for one in outcome.met)
        self.steps.update(outcome.steps)
        self.readings[outcome.readings] += 1
        self.compared += outcome.compared
        self.failed_runs += outcome.failed_runs
        self.seconds += outcome.seconds
        if outcome.problems:
            self.failed.append(outcome)

    def never(self) -> list[str]:
        """Fates that no write of a kind met: of those this run has shown nothing."""
        return [
            f"{fate} never came to {kind}"
            for fate in (*FATES, STALE)
            for kind in WRITES
            if not self.met[fate, kind]
        ]


def replay(database: str, seed: int) -> str:
    """The command that tells a seed's story again."""
    return f"python -m returns_pipeline_tests.storms --database {database} --seed {seed}"


def page(told: Told) -> str:
    """All of it, in Markdown."""
    compared = ", ".join(f"{n} {what}" for what, n in told.compared.items())
    summary = (
        f"{told.met.total()} requests met a fate; {told.failed_runs} runs ended in an error and "
        f"were taken up by the next; {compared} compared with the ground truth. "
        f"{told.seconds / max(1, told.seeds):.1f} s a seed and process."
    )
    lines = [
        f"### {told.database}: {told.seeds} seeds, {len(told.failed)} failed",
        "",
        summary,
        "",
        f"| fate | {' | '.join(_KINDS)} |",
        f"| --- |{' --- |' * len(_KINDS)}",
    ]
    lines += [
        f"| {fate} | {' | '.join(str(told.met[fate, kind]) for kind in _KINDS)} |"
        for fate in (*FATES, STALE)
    ]
    lines += ["", "What the program did:", ""]
    lines += [f"- {words}: {told.steps[step]}" for step, words in _STEPS.items()]
    lines += ["", f"Seeds by reading ({', '.join(READINGS)}):", ""]
    lines += [
        f"- {', '.join(map(str, key))}: {n}" for key, n in sorted(told.readings.items(), key=str)
    ]
    lines += [f"- NEVER: {one}" for one in told.never()]
    for outcome in told.failed:
        lines += ["", f"FAILED: seed {outcome.seed} ({replay(told.database, outcome.seed)})"]
        lines += [f"- {problem}" for problem in outcome.problems]
        lines += [f"  {one}" for one in outcome.met]
    return "\n".join([*lines, ""])
