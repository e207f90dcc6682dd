"""The exception catalogue: trigger, severity, owner, action, when it closes itself.

One row a code (specification EXCEPTIONS). Here: what is known of each code, the time its
owner has, and which exceptions open and close when what holds now is compared with what
stands open. Evaluating the triggers over what is stored is ``steps.control``'s.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from returns_pipeline.domain.calendar import add_working_days
from returns_pipeline.domain.model import ExceptionRaised, Owner, Severity
from returns_pipeline.domain.policy import Policy


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """What is known of one exception code."""

    code: str
    severity: Severity
    owner: Owner
    trigger: str
    action: str
    closes_when: str

    @property
    def title(self) -> str:
        """The code as a person says it: ``ORPHAN_RETURN``: "Orphan return"."""
        return self.code.replace("_", " ").capitalize()

    @property
    def blocks(self) -> str:
        """What it keeps from moving while open: ``refund``, ``stock``, ``batch`` or ``none``.

        ``stock`` stops the refund too, since that follows receipt and disposition.
        """
        return next((what for what, codes in _BLOCKS.items() if self.code in codes), "none")


def _e(
    code: str, severity: Severity, owner: Owner, trigger: str, action: str, closes_when: str
) -> CatalogueEntry:
    return CatalogueEntry(code, severity, owner, trigger, action, closes_when)


S1, S2, S3, S4 = Severity.S1, Severity.S2, Severity.S3, Severity.S4
CX, OPERATIONS, FINANCE = Owner.CX, Owner.OPERATIONS, Owner.FINANCE

# fmt: off
# One row a code, as in the specification: a table reads best unbroken.
# ruff: disable[E501, RUF001]
_ROWS = (
    _e("ORPHAN_RETURN", S2, CX, "HR return has no Linnworks order after N h", "pick order from suggestions", "order found"),
    _e("ORDER_NOT_PROCESSED", S3, OPERATIONS, "order exists but is open (OpenOrderInLinnworks)", "process the order in Linnworks, if its goods have left", "processed"),
    _e("ORDER_REF_AMBIGUOUS", S2, CX, "> 1 order for reference (MultipleReferences)", "choose the order", "one candidate left"),
    _e("LINE_ID_MISSING", S3, OPERATIONS, "no order-line id in payload", "mend the mapping from shop to Happy Returns, or choose the line", "id arrives or crosswalk unique"),
    _e("LINE_AMBIGUOUS_SKU", S2, CX, "same SKU on several lines, no id", "choose the order line", "line id arrives"),
    _e("SKU_UNKNOWN", S2, OPERATIONS, "SKU not in Linnworks / unlinked item", "compare SKU and order; map the SKU, or choose the line", "mapping added"),
    _e("SKU_UNLINKED", S2, OPERATIONS, "SKU not in Linnworks / unlinked item", "link the order line to its stock item in Linnworks", "mapping added"),
    _e("QTY_EXCEEDS_ORDERED", S1, OPERATIONS, "cumulative returned > despatched", "find out which order the surplus is of", "corrected event"),
    _e("DUPLICATE_RETURN_UNIT", S1, CX, "same unit in two returns", "void one of the two returns, or choose the other unit", "one cancelled"),
    _e("BLIND_RETURN", S2, OPERATIONS, "physical item, no authorisation", "find out whose it is; book it by hand, or dispose of it", "linked"),
    _e("KIT_INCOMPLETE", S2, CX, "some children missing", "partial refund decision", "children arrive / decision"),
    _e("REFUND_AHEAD_OF_GATE", S2, FINANCE, "money out before gate state", "ask who sent it; accept it, or chase the goods", "gate state reached"),
    _e("REFUNDED_NOT_RECEIVED", S2, OPERATIONS, "refund effective, no receipt in N days", "trace the parcel or bag; lost: write it off", "receipt or loss write-off"),
    _e("RECEIVED_NOT_REFUNDED", S2, CX, "receipt, no refund after SLA", "decide whether it is refunded", "refund appears"),
    _e("REFUND_BOOKED_NOT_ACTIONED", S2, FINANCE, "Linnworks refund OPEN > N h", "action the refund in Linnworks, or delete it", "PROCESSED"),
    _e("REFUND_DOUBLE_SUSPECTED", S1, FINANCE, "two refunds one unit, or channel + ours", "stop; look in the gateway what was paid", "one voided/explained"),
    _e("REFUND_OVER_CEILING", S1, FINANCE, "Σ refunds > paid (line/shipping)", "look what went back already; approve the rest, or claw back", "≤ ceiling"),
    _e("REFUND_AMOUNT_MISMATCH", S2, FINANCE, "HR ≠ Linnworks beyond tolerance (default 0.01)", "correct the amount in Happy Returns, or decide it", "equal"),
    _e("REFUND_FAILED_AT_SOURCE", S1, CX, "HR's failed returns / gateway fail", "retry it in Happy Returns", "succeeded"),
    _e("LINNWORKS_CANNOT_REFUND", S2, CX, "CannotRefundReason ≠ None", "read Linnworks' reason; clear it, then send again", "None"),
    _e("LINNWORKS_CANNOT_RETURN", S2, OPERATIONS, "CannotReturnReason ≠ None (e.g. AlreadyReturnedInLinnworks)", "read Linnworks' reason; clear it, then send again", "None or matched"),
    _e("SEND_TO_CHANNEL_RISK", S1, FINANCE, "refund line would go to channel while HR pays", "delete that refund in Linnworks before anybody actions it", "flag internal"),
    _e("RETURN_EXPIRED_AFTER_REFUND", S1, CX, "expired/cancelled but refunded", "charge the shopper, or chase the goods", "receipt"),
    _e("RETURN_EXPIRED", S4, CX, "return begun and never handed over in time (CASES, first row)", "none (information)", "some days have passed, or it comes"),
    _e("OUT_OF_POLICY_WINDOW", S3, CX, "return after window", "decide whether it is refunded", "decision"),
    _e("APPROVAL_BURST", S1, CX, "approvals > k × baseline in 1 h", "confirm policy change; release breaker", "confirmed"),
    _e("WRONG_ITEM_SUSPECTED", S1, CX, "scan ≠ expected, empty, audit flag", "hold it and keep the evidence; look what was sent", "cleared"),
    _e("REFUND_OK_STOCK_FAILED", S1, OPERATIONS, "refund recorded, stock write failed/unknown", "put its stock movement right: see its other tasks", "read-back matches"),
    _e("STOCK_OK_REFUND_MISSING", S2, CX, "reverse of above past SLA", "close the day it waits for", "refund recorded"),
    _e("DISPOSITION_MISSING", S3, OPERATIONS, "received, no disposition after grace", "inspect it", "disposition arrives"),
    _e("DISPOSITION_UNMAPPED", S2, OPERATIONS, "code not in mapping version", "add a row for the code to the policy, or say its condition", "mapped + moved"),
    _e("DISPOSITION_CONFLICT", S2, OPERATIONS, "hub and warehouse disagree", "look at it, and choose the condition", "equal"),
    _e("WRONG_LOCATION", S1, OPERATIONS, "posted location/bin ≠ mapping", "move it to where its condition belongs", "read-back matches"),
    _e("CO_MINGLED_STOCK", S1, OPERATIONS, "non-sellable unit in sellable location", "take it off the shelf now, and move it", "moved"),
    _e("DOUBLE_RESTOCK", S1, OPERATIONS, "platform restock and ours, or two writes", "count, and take one out again", "net = 1"),
    _e("STOCK_DRIFT", S2, OPERATIONS, "expected − actual ≠ 0 for returns-touched SKU", "count, and adjust the level", "0"),
    _e("BATCH_ITEM_MANUAL", S3, OPERATIONS, "batched/serial item", "book batch by hand", "batch booked"),
    _e("SHIPMENT_SHORT", S2, OPERATIONS, "pallet expected ≠ received", "look again; claim what is missing", "equal"),
    _e("SHIPMENT_OVER", S2, OPERATIONS, "pallet expected ≠ received", "compare label and SKU: find out what it is", "equal"),
    _e("RETURN_NOT_CONSERVED", S2, OPERATIONS, "begun ≠ received + in transit + missing + expired + cancelled + kept", "find out where it is", "every unit is told of again, or given up"),
    _e("STUCK_IN_TRANSIT", S2, OPERATIONS, "no movement N days", "trace the parcel or bag; lost: write it off", "movement"),
    _e("EXCHANGE_ORDER_MISSING", S1, CX, "gate reached, no replacement order", "have the replacement ordered, or refund it instead", "order found"),
    _e("EXCHANGE_DUPLICATE", S1, OPERATIONS, "two replacements (platform + Linnworks)", "cancel one of the two replacements", "one left"),
    _e("EXCHANGE_RELEASED_EARLY", S2, OPERATIONS, "replacement despatched before gate", "trace the original; lost: write it off", "receipt"),
    _e("EXCHANGE_UNEVEN_ZERO_VALUE", S1, FINANCE, "price difference but zero-value order", "give the replacement its price", "priced/cleared"),
    _e("EXCHANGE_OOS", S2, CX, "replacement unavailable", "wait for stock, offer another article, or refund it", "stock or refund"),
    _e("EXCHANGE_CLEARING_AGED", S2, FINANCE, "clearing item open > N days", "have the replacement ordered, or refund it instead", "cleared"),
    _e("BATCH_UNBALANCED", S1, FINANCE, "Σ ≠ 0 (must be impossible)", "stop the export; tell Engineering", "n/a – code defect"),
    _e("BATCH_INCOMPLETE", S2, FINANCE, "source high-water mark < cut-off + lag", "wait/force with reason", "complete"),
    _e("CONTROL_TOTAL_MISMATCH", S1, FINANCE, "HR/Linnworks/batch totals differ", "follow the difference to its units; correct the wrong side", "equal"),
    _e("LATE_ARRIVAL", S4, FINANCE, "event for sealed date", "review adjustment batch", "adjustment sealed"),
    _e("PERIOD_LOCKED", S2, FINANCE, "target date locked", "close the day: it is dated in the open month", "posted"),
    _e("EXPORT_REJECTED", S1, FINANCE, "target import error", "mend what the ledger names, import again, say that it was taken", "accepted"),
    _e("POSTED_UNCONFIRMED", S2, FINANCE, "exported, no ledger id after N h", "import the journal, and enter its number", "id recorded"),
    _e("POSTED_TWICE", S1, FINANCE, "same batch id seen twice in ledger", "delete/reverse one", "one left"),
    _e("LEDGER_DRIFT", S2, FINANCE, "posted journal edited in ledger", "find out what changed it; restore or explain it", "equal"),
    _e("ACCOUNT_UNMAPPED", S1, FINANCE, "role without account/tax code", "give the role its account in the policy", "mapped"),
    _e("VAT_RATE_UNKNOWN", S2, FINANCE, "original rate missing/changed", "enter the rate in the policy or the order", "known"),
    _e("COST_MISSING", S3, FINANCE, "no unit cost", "supply cost → adjustment", "cost known"),
    _e("FX_RATE_MISSING", S2, FINANCE, "no rate for policy", "enter the rate in Linnworks or the policy", "loaded"),
    _e("ROUNDING_OVER_LIMIT", S2, FINANCE, "rounding line > 1p × lines or £0.50", "find out where the pennies come from", "below"),
    _e("STORE_CREDIT_UNMATCHED", S2, FINANCE, "credit issued ≠ liability", "match it with the shop's gift-card report", "equal"),
    _e("SOURCE_STALE", S1, OPERATIONS, "no successful poll N min", "read the last run's error; check the credentials", "poll ok"),
    _e("SIGNATURE_INVALID", S2, OPERATIONS, "bad HMAC", "rotate the secret", "valid"),
    _e("SCHEMA_DRIFT", S3, OPERATIONS, "unknown/missing field, new enum", "map the new code in the policy, or tell Engineering", "parsed"),
    _e("EVENT_GAP", S4, OPERATIONS, "sweep finds what webhook missed", "nothing, unless they grow more", "ingested"),
    _e("WRITE_UNKNOWN_OUTCOME", S1, OPERATIONS, "timeout after send", "auto look-up, then re-drive", "found or proven absent"),
    _e("RATE_LIMIT_EXHAUSTED", S3, OPERATIONS, "budget < demand", "raise lookups_per_run, or ask for a higher rate", "within budget"),
    _e("CONFIG_CONTRADICTION", S1, OPERATIONS, "linter rule fails", "bring policy and Linnworks' locations together", "passes"),
    _e("MAPPING_VERSION_CHANGED", S4, FINANCE, "mapping hash changed mid-day", "make sure that it was meant", "ack"),
    _e("ALERT_UNDELIVERED", S2, OPERATIONS, "an alert was not taken by its channel for an hour", "mend the channel", "it is taken, or a week has passed"),
    _e("CLOCK_AMBIGUOUS", S3, OPERATIONS, "timestamp without zone", "ask Happy Returns for the zone", "zoned"),
)
# ruff: enable[E501, RUF001]
# fmt: on

CATALOGUE: Mapping[str, CatalogueEntry] = {entry.code: entry for entry in _ROWS}

# The specification names the field, not its values: these follow from the gates, from the
# matching (nothing moves without it) and from what sealing refuses.
_BLOCKS = {
    "stock": frozenset(
        [
            "ORPHAN_RETURN",
            "ORDER_NOT_PROCESSED",
            "ORDER_REF_AMBIGUOUS",
            "LINE_ID_MISSING",
            "LINE_AMBIGUOUS_SKU",
            "SKU_UNKNOWN",
            "SKU_UNLINKED",
            "QTY_EXCEEDS_ORDERED",
            "DUPLICATE_RETURN_UNIT",
            "BLIND_RETURN",
            "LINNWORKS_CANNOT_RETURN",
            "DISPOSITION_MISSING",
            "DISPOSITION_UNMAPPED",
            "DISPOSITION_CONFLICT",
            "BATCH_ITEM_MANUAL",
            "SCHEMA_DRIFT",
            "CLOCK_AMBIGUOUS",
            "CONFIG_CONTRADICTION",
            "WRITE_UNKNOWN_OUTCOME",
        ]
    ),
    "refund": frozenset(
        [
            "REFUND_OVER_CEILING",
            "REFUND_AMOUNT_MISMATCH",
            "LINNWORKS_CANNOT_REFUND",
            "REFUND_DOUBLE_SUSPECTED",
            "WRONG_ITEM_SUSPECTED",
            "OUT_OF_POLICY_WINDOW",
            "VAT_RATE_UNKNOWN",
            "EXCHANGE_UNEVEN_ZERO_VALUE",
            "EXCHANGE_ORDER_MISSING",
            "KIT_INCOMPLETE",
        ]
    ),
    "batch": frozenset(
        [
            "BATCH_UNBALANCED",
            "BATCH_INCOMPLETE",
            "ACCOUNT_UNMAPPED",
            "FX_RATE_MISSING",
            "PERIOD_LOCKED",
        ]
    ),
}
OPEN_STATES = frozenset({"open", "ack", "snoozed"})


def runbook(code: str) -> str:
    """Where the runbook says what to do: its heading is the code."""
    return f"docs/runbook.md#{code.lower()}"


def due_at(severity: Severity, opened_at: datetime, policy: Policy) -> datetime:
    """Until when the owner should have acted. S2 is counted in working days."""
    allowed = policy.sla[severity]
    if severity is Severity.S2:
        days, rest = divmod(allowed, timedelta(days=1))
        return add_working_days(opened_at, days, policy.merchant.time_zone) + rest
    return opened_at + allowed


# --- opening and closing ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenException:
    """An exception as it stands in the queue. ``opened_at`` and ``due_at`` are UTC."""

    code: str
    key: str
    severity: Severity
    owner: Owner
    message: str
    opened_at: datetime
    due_at: datetime
    amount_minor: int = 0
    currency: str = ""
    unit_keys: tuple[str, ...] = ()
    return_ids: tuple[str, ...] = ()
    order_numbers: tuple[str, ...] = ()
    status: str = "open"
    snoozed_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What a refresh changes: rows to insert, to overwrite, and to close with the reason."""

    opened: tuple[OpenException, ...]
    updated: tuple[OpenException, ...]
    resolved: tuple[tuple[OpenException, str], ...]


def refresh(
    stored: Sequence[OpenException],
    raised: Sequence[ExceptionRaised],
    *,
    now: datetime,
    policy: Policy,
    scope: Collection[str] | None = None,
) -> Changes:
    """Bring the queue in line with what holds now; the same once more changes nothing.

    One open exception a code and key, however often its predicate is told. What a person
    did to it (acknowledged, snoozed, another owner) stays; a severity that rises by age
    brings the due time forward, never back. One that sleeps wakes at its time, and before
    it where it grows worse.

    Args:
        stored: Those in the queue; closed ones among them are passed over.
        raised: What holds now. Of several with one code and key the first counts.
        now: The instant of the refresh.
        policy: For owners and times.
        scope: The codes this refresh speaks for: others stay as they are. ``None``: all.

    Raises:
        KeyError: For a code the catalogue does not have.
    """
    standing = {
        (one.code, one.key): one
        for one in stored
        if one.status in OPEN_STATES and (scope is None or one.code in scope)
    }
    holds: dict[tuple[str, str], ExceptionRaised] = {}
    for told in raised:
        if scope is None or told.code in scope:
            holds.setdefault((told.code, told.key), told)
    opened, updated = [], []
    for key, told in holds.items():
        before = standing.get(key)
        if before is None:
            opened.append(_opened(told, now, policy))
        elif (after := _still(before, told, now, policy)) != before:
            updated.append(after)
    reason = "its cause no longer holds"
    resolved = [(one, reason) for key, one in standing.items() if key not in holds]
    return Changes(tuple(opened), tuple(updated), tuple(resolved))


def _opened(told: ExceptionRaised, now: datetime, policy: Policy) -> OpenException:
    entry = CATALOGUE[told.code]
    severity = told.severity or entry.severity
    return OpenException(
        code=told.code,
        key=told.key,
        severity=severity,
        owner=policy.owners.get(told.code, entry.owner),
        message=told.message,
        opened_at=now,
        due_at=due_at(severity, now, policy),
        amount_minor=told.amount_minor,
        currency=told.currency,
        unit_keys=told.unit_keys,
        return_ids=told.return_ids,
        order_numbers=told.order_numbers,
    )


def _still(
    before: OpenException, told: ExceptionRaised, now: datetime, policy: Policy
) -> OpenException:
    severity = told.severity or CATALOGUE[told.code].severity
    due = before.due_at
    worse = severity < before.severity  # S1 sorts before S2
    if worse:
        due = min(due, due_at(severity, now, policy))
    status, until = before.status, before.snoozed_until
    if status == "snoozed" and (worse or until is None or until <= now):
        status, until = "open", None
    return replace(
        before,
        status=status,
        snoozed_until=until,
        severity=severity,
        due_at=due,
        message=told.message,
        amount_minor=told.amount_minor,
        currency=told.currency,
        unit_keys=told.unit_keys,
        return_ids=told.return_ids,
        order_numbers=told.order_numbers,
    )
