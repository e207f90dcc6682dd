"""The mutants: one small wrong change of the real code each. Running them is ``__main__``'s."""

from __future__ import annotations

from dataclasses import dataclass

_PROTOCOL = "returns_pipeline/dispatch/protocol.py"
_TRANSPORT = "returns_pipeline/clients/transport.py"
_OUTBOX = "returns_pipeline/storage/outbox.py"
_RESTOCKS = "returns_pipeline/dispatch/restocks.py"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One wrong change: ``old`` stands exactly once in ``path`` and becomes ``new``."""

    name: str
    path: str
    old: str
    new: str


MUTANTS = (
    Mutant(
        "unknown treated as failure and re-sent",
        _PROTOCOL,
        'self._move(intent, "unknown", error=detail)\n            return "unknown"',
        'self._move(intent, "ready", error=detail)\n            return "unknown"',
    ),
    Mutant(
        "5xx treated as a definite failure",
        _TRANSPORT,
        'raise OutcomeUnknown(call.method, f"HTTP {answer.status}")',
        'raise NotApplied(call.method, f"HTTP {answer.status}")',
    ),
    Mutant(
        "unknown assumed applied",
        _PROTOCOL,
        'self._move(intent, "unknown", error=detail)\n            return "unknown"',
        'self._confirm(intent, write, {"header_id": 0, "lines": []}, "assumed")\n'
        '            return "unknown"',
    ),
    Mutant(
        "settle time ignored",
        _PROTOCOL,
        "rested = self._clock() - self._settle",
        "rested = self._clock()",
    ),
    Mutant(
        "claim without guard",
        _OUTBOX,
        't.intents.c.id == candidate.scalar_subquery(), t.intents.c.state == "ready")',
        "t.intents.c.id == candidate.scalar_subquery())",
    ),
    Mutant(
        "action without looking at Actioned",
        _RESTOCKS,
        "            return Adopt(_evidence(header_id, header.lines, adopted=True))\n",
        "            return None\n",
    ),
    Mutant(
        "lease ignored",
        _OUTBOX,
        'columns.state == "sending", columns.lease_until <= now,',
        'columns.state == "nothing", columns.lease_until <= now,',
    ),
    Mutant("subject blocking removed", _OUTBOX, ".where(allowed, ~blocked)", ".where(allowed)"),
    Mutant("dependency ignored", _OUTBOX, ".where(allowed, ~blocked)", ".where(~blocked)"),
    Mutant("breaker removed", _PROTOCOL, "if failures > _BREAKER or (", "if failures > 10**9 or ("),
)
