"""What a kind of write must be able to do, and what can be found out about one.

A new kind of write is one small class below ``Write``: how it is sent, how it is recognised
in what Linnworks shows, and what changes in our tables when it is settled. Not here: the
order in which these are asked (``protocol``), which is the same for every kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

import sqlalchemy as sa

from returns_pipeline.clients.linnworks import Linnworks, RefundHeader, RmaHeader
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading
from returns_pipeline.storage.outbox import Intent


@dataclass(frozen=True, slots=True)
class Adopt:
    """Somebody else has done it already: nothing is sent, their effect is ours."""

    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Hold:
    """Something stands in the way that a person must look at; ``code`` is the exception's."""

    why: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """Read back: it happened."""

    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Absent:
    """Read back: it certainly did not happen."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """Read back: what is there is neither; a person decides. ``code`` as of ``Hold``."""

    why: str
    code: str = ""


# Between making something and actioning it somebody may act too. So soon after we made it
# nobody has found it yet; later everything of the order is looked at.
_NOBODY_YET = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Earlier:
    """The confirmed intent that another depends on."""

    payload: Mapping[str, Any]
    evidence: Mapping[str, Any]

    @property
    def header_id(self) -> int:
        """What it made, or found made."""
        found: int = self.evidence["header_id"]
        return found


class Write(ABC):
    """One kind of write."""

    kind: ClassVar[str]

    def __init__(self, linnworks: Linnworks, engine: sa.Engine) -> None:
        """Speak to nobody yet.

        Args:
            linnworks: Where it is done.
            engine: Where our own record is.
        """
        self.linnworks = linnworks
        self.engine = engine

    def precheck(self, intent: Intent) -> Adopt | Hold | None:
        """Look once more before sending; ``None``: nothing stands in the way.

        Raises:
            VendorError: When it could not be looked; nothing was sent.
        """
        del intent
        return None

    @abstractmethod
    def send(self, intent: Intent) -> Mapping[str, Any]:
        """Do it, once, by one write of ``linnworks``; gives the evidence.

        Raises:
            VendorError: Typed by what is known of its fate.
        """

    def done_by_others(self, intent: Intent) -> Adopt | Hold | None:
        """Look whether Linnworks said no because somebody else has done it meanwhile.

        Raises:
            VendorError: When it could not be looked.
        """
        del intent
        return None

    @abstractmethod
    def read_back(self, intent: Intent) -> Applied | Absent | Unclear:
        """Find out what became of a send whose answer was lost.

        Raises:
            Unavailable: When that could not be read.
        """

    @abstractmethod
    def confirmed(
        self,
        connection: sa.Connection,
        intent: Intent,
        evidence: Mapping[str, Any],
        now: datetime,
    ) -> None:
        """Enter the effect in our tables, in the transaction that settles the intent."""

    @abstractmethod
    def refused(self, connection: sa.Connection, intent: Intent, why: str, now: datetime) -> None:
        """Enter that Linnworks said no."""

    def suspended(self, connection: sa.Connection, intent: Intent, why: str, now: datetime) -> None:
        """Enter that a person must look; ``why`` may begin with an exception's code."""
        self.refused(connection, intent, why, now)


class Action(Write):
    """Carrying out what an earlier intent made: how far that got shows the same way for all."""

    noun: ClassVar[str]  # what it carries out, as a person knows it
    proof: ClassVar[Callable[..., dict[str, Any]]]  # of a header id and its lines

    def earlier(self, intent: Intent) -> Earlier:
        """The confirmed intent that this one depends on."""
        columns = t.intents.c
        query = sa.select(columns.payload, columns.evidence).where(
            columns.intent_key == intent.depends_on
        )
        with reading(self.engine) as connection:
            payload, evidence = connection.execute(query).one()
        if not evidence:
            msg = f"{intent.intent_key} was claimed before {intent.depends_on} was confirmed"
            raise AssertionError(msg)
        return Earlier(payload, evidence)

    def was_just_made(self, intent: Intent) -> bool:
        """Whether this very run made it, a moment ago, and has not tried to action it yet.

        Our own record proves it: the answer that confirmed it, not a reading back and not an
        adoption, and the claim of its action. The moment counts from when its request left.
        """
        if intent.attempt > 1:
            return False
        made, claimed = t.attempts.alias("made").c, t.attempts.alias("claimed").c
        query = sa.select(t.intents.c.sent_at, claimed.at).where(
            t.intents.c.intent_key == intent.depends_on,
            made.intent_key == t.intents.c.intent_key,
            made.step == "confirmed",
            claimed.intent_key == intent.intent_key,
            claimed.step == "claimed",
            claimed.run_id == made.run_id,
        )
        with reading(self.engine) as connection:
            return any(
                timedelta() <= began - left < _NOBODY_YET
                for left, began in connection.execute(query)
            )

    @abstractmethod
    def header(self, intent: Intent, header_id: int) -> RmaHeader | RefundHeader | None:
        """What Linnworks shows of it now; ``None``: it is not there any more.

        Raises:
            VendorError: When that could not be read.
        """

    def done(self, intent: Intent, header: RmaHeader | RefundHeader, **more: Any) -> Adopt | Hold:
        """What it proves that a header is actioned; a person looks where it is not what we made."""
        del intent
        return Adopt(self.proof(_id_of(header), header.lines, **more))

    def done_by_others(self, intent: Intent) -> Adopt | Hold | None:
        """Carried out between our making it, or our look, and our call."""
        header_id = self.earlier(intent).header_id
        header = self.header(intent, header_id)
        if header is None or not header.is_actioned:
            return None
        return self.done(intent, header, adopted=True)

    def read_back(self, intent: Intent) -> Applied | Absent | Unclear:
        """Actioned or not: the header says."""
        header_id = self.earlier(intent).header_id
        header = self.header(intent, header_id)
        if header is None:
            return Unclear(f"{self.noun} {header_id} is not there any more")
        if header.is_actioned:
            found = self.done(intent, header)
            if isinstance(found, Hold):
                return Unclear(found.why, found.code)
            return Applied(found.evidence)
        if in_part(header):
            return Unclear(f"{self.noun} {header_id} is actioned in part")
        return Absent()


def _id_of(header: RmaHeader | RefundHeader) -> int:
    return header.RMAHeaderId if isinstance(header, RmaHeader) else header.RefundHeaderId


def in_part(header: RmaHeader | RefundHeader) -> bool:
    """Whether some of its lines were actioned and others not: actioning it might repeat them."""
    return not header.is_actioned and any(line.Actioned for line in header.lines)
