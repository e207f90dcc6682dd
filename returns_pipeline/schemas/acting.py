"""What is to be done to a vendor, what was tried, and what a person has to do."""

from __future__ import annotations

from returns_pipeline.domain.alerts import Kind
from returns_pipeline.domain.decisions import Kind as Decided
from returns_pipeline.domain.exceptions import CATALOGUE, OPEN_STATES
from returns_pipeline.domain.model import Owner, Severity
from returns_pipeline.schemas import fields as f
from returns_pipeline.schemas import shared as s

_KINDS = ("rma_booking", "rma_action", "refund_create", "refund_action", "exchange_create")
_STATES = ("ready", "sending", "unknown", "confirmed", "refused", "suspense", "withdrawn")
_SETTLED = ("confirmed", "refused", "suspense", "withdrawn")
_CLOSED = ("resolved", "auto_resolved")
_REFUNDED = ("", "Item", "Shipping", "Service", "Additional")
_OUTCOMES = ("carried_out", "refused", "superseded", "ended")
_ATTEMPT = f.integer("Which attempt, from 1; 0 before the first", 0)

DECLARED = {
    "intents": f.Declared(
        {
            "id": s.ID,
            "intent_key": f.name("The intent, made from its content"),
            "kind": f.word("What is to be done", _KINDS),
            "subject": f.name("The order: one unknown holds its others up"),
            "reference": f.name("Our reference at the vendor"),
            "payload": s.OBJECT.means("What is to be sent, JSON"),
            "payload_hash": f.shaped("SHA-256 of the payload", "[0-9a-f]{64}"),
            "state": f.word("How far it is", _STATES),
            "attempt": _ATTEMPT,
            "depends_on": f.name("The intent that must be confirmed first").or_null,
            "lease_holder": f.text("Who sends or sent it").or_null,
            "lease_until": f.instant("Until when the claim holds").or_null,
            "not_before": f.instant("It waits until then").or_null,
            "created_at": f.instant("When it was committed"),
            "sent_at": f.instant("When it was last claimed, then when its request left").or_null,
            "settled_at": f.instant("When it came to an end").or_null,
            "evidence": s.OBJECT.means("What proves it, JSON").or_null,
            "error": f.text("What went wrong last"),
        },
        key=("intent_key",),
        rules=(
            f.needed_when("evidence", "state", "confirmed"),
            f.needed_when("lease_until", "state", "sending"),
            f.needed_when("sent_at", "state", "sending", "unknown"),
            f.needed_when("settled_at", "state", *_SETTLED),
        ),
    ),
    "attempts": f.Declared(
        {
            "id": s.ID,
            "intent_key": f.name("The intent"),
            "attempt": _ATTEMPT,
            "step": f.name("What happened"),
            "at": f.instant("When"),
            "run_id": s.RUN_ID,
            "detail": f.text("What the vendor or the dispatcher said"),
        },
        key=("id",),
    ),
    "exceptions": f.Declared(
        {
            "id": s.ID,
            "code": f.word("Which exception of the catalogue", CATALOGUE),
            "key": f.name("What it is about"),
            "owner": f.word("Who acts on it", Owner),
            "severity": f.word("How urgent it is", Severity),
            "status": f.word("How far it is", (*sorted(OPEN_STATES), *_CLOSED)),
            "message": f.text("What is the case"),
            "amount_minor": f.minor("Money at stake"),
            "currency": f.word(
                "ISO 4217; empty where no money is at stake", ("", *s.CURRENCY.one_of)
            ),
            "unit_keys": s.LIST.means("Units concerned, JSON"),
            "return_ids": s.LIST.means("Returns concerned, JSON"),
            "order_numbers": s.LIST.means("Orders concerned, JSON"),
            "opened_at": f.instant("When it was opened"),
            "due_at": f.instant("Until when the owner should have acted"),
            "last_seen_at": f.instant("When its cause last held"),
            "occurrences": f.integer("How often its cause was told", 1),
            "resolved_at": f.instant("When it was closed").or_null,
            "resolution": f.text("Why it was closed"),
            "assignee": f.text("Who took it on"),
            "policy_hash": s.POLICY_HASH,
            "snoozed_until": f.instant("Until when it is out of sight").or_null,
            "resolver": f.text("Who closed it; empty where it closed itself"),
        },
        key=("id",),
        rules=(
            f.present_when("resolved_at", "status", *_CLOSED),
            f.not_before("due_at", "opened_at"),
            f.not_before("resolved_at", "opened_at"),
            f.Rule(
                "money at stake has a currency",
                lambda frame: (frame["amount_minor"] == 0) | (frame["currency"] != ""),
            ),
        ),
    ),
    "restock_readings": f.Declared(
        {
            "id": s.ID,
            "rma_row_id": f.integer("Linnworks' RMA row"),
            "order_id": s.ORDER_ID,
            "reference": f.text("The RMA's reference, ours or another's"),
            "sku": s.SKU,
            "location_id": s.LOCATION_ID,
            "quantity": f.integer("Units returned", 0),
            "scrap_quantity": f.integer("Of that, written off", 0),
            "actioned_at": f.instant("When it was actioned").or_null,
            "read_at": f.instant("When it was read"),
        },
        key=("rma_row_id",),
    ),
    "stock_readings": f.Declared(
        {
            "id": s.ID,
            "item_id": f.name("Linnworks' stock item"),
            "location_id": s.LOCATION_ID,
            "sku": s.SKU,
            "level": f.integer("Units counted there"),
            "read_at": f.instant("When it was read"),
        },
        key=("item_id", "location_id"),
    ),
    "reconciliations": f.Declared(
        {
            "id": s.ID,
            "run_id": s.RUN_ID,
            "began_at": f.instant("When it began"),
            "ended_at": f.instant("When it ended"),
            "calls": f.integer("Vendor calls it took", 0),
            "figures": f.name("What it compared and found, JSON"),
        },
        key=("id",),
        rules=(f.not_before("ended_at", "began_at"),),
    ),
    "refund_readings": f.Declared(
        {
            "id": s.ID,
            "refund_row_id": f.name("Linnworks' refund row"),
            "refund_header_id": f.integer("The refund it is a row of").or_null,
            "order_id": s.ORDER_ID,
            "row_id": s.ROW_ID.means("The order item row it is for; shipping has none").or_null,
            "unit": f.word("What is refunded; empty until the order's refunds are read", _REFUNDED),
            "quantity": f.integer("Units of the row; 0 where it does not say", 0),
            "amount_minor": f.minor("What it gives back; 0 until the order's refunds are read"),
            "currency": f.word(
                "ISO 4217; empty until the order's refunds are read", ("", *s.CURRENCY.one_of)
            ),
            "created_at": f.instant("When it was created"),
            "is_actioned": f.flag("Whether the money was sent"),
            "actioned_at": f.instant("When it was sent").or_null,
            "is_ours": f.flag("Whether this program made it"),
            "is_deleted": f.flag("Whether it is gone from the order"),
            "read_at": f.instant("When it was last read"),
        },
        key=("refund_row_id",),
        rules=(
            f.Rule(
                "actioned_at is there exactly when is_actioned",
                lambda frame: frame["actioned_at"].notna() == frame["is_actioned"],
            ),
        ),
    ),
    "alerts": f.Declared(
        {
            "id": s.ID,
            "alert_key": f.name("What is told once"),
            "kind": f.word("What it tells of", Kind),
            "owner": f.word("Who is told", Owner),
            "severity": f.word("How urgent it is", Severity),
            "title": f.name("What happened, in a few words"),
            "what": f.text("What is the case"),
            "remedy": f.text("What to do"),
            "amount_minor": f.minor("Money at stake"),
            "currency": f.word(
                "ISO 4217; empty where no money is at stake", ("", *s.CURRENCY.one_of)
            ),
            "units": f.integer("Units at stake", 0),
            "link": f.text("Where it is looked at"),
            "runbook": f.text("Where the runbook says what to do"),
            "at": f.instant("When it came to be"),
            "leaves_at": f.instant("From when on it may be told: after the quiet hours"),
            "message_key": f.name("The message it went into").or_null,
        },
        key=("alert_key",),
    ),
    "alert_messages": f.Declared(
        {
            "id": s.ID,
            "message_key": f.name("The message, in every channel"),
            "channel": f.name("By which channel it goes"),
            "owner": f.word("Who is told", Owner),
            "severity": f.word("The gravest it tells of", Severity),
            "subject": f.name("Its first line"),
            "state": f.word("How far it is", ("queued", "sent", "given_up")),
            "attempts": f.integer("How often it was tried", 0),
            "next_at": f.instant("When it is tried next"),
            "created_at": f.instant("When it was put together"),
            "sent_at": f.instant("When it was taken").or_null,
            "error": f.text("Why it was not taken last"),
        },
        key=("id",),
        rules=(f.present_when("sent_at", "state", "sent"),),
    ),
    "decisions": f.Declared(
        {
            "id": s.ID,
            "subject": f.name("What it is about: a unit, an intent, or a task"),
            "question": f.name("What it answers"),
            "sequence": f.integer("Which answer to the same question, from 1", 1),
            "kind": f.word("What was decided", Decided),
            "arguments": s.OBJECT.means("With which particulars, JSON"),
            "exception_id": f.integer("The task it was made from").or_null,
            "actor": f.name("Who decided"),
            "reason": f.text("Why, in their words"),
            "decided_at": f.instant("When"),
            "policy_hash": s.POLICY_HASH,
        },
        key=("id",),
    ),
    "decision_outcomes": f.Declared(
        {
            "decision_id": f.integer("The decision"),
            "outcome": f.word("What became of it", _OUTCOMES),
            "detail": f.text("In words"),
            "at": f.instant("When"),
            "run_id": s.RUN_ID,
        },
        key=("decision_id",),
    ),
    "exception_actions": f.Declared(
        {
            "id": s.ID,
            "exception_id": f.integer("The task"),
            "action": f.name("What was done"),
            "actor": f.name("Who did it"),
            "at": f.instant("When"),
            "detail": f.text("In words"),
            "decision_id": f.integer("The decision it made").or_null,
        },
        key=("id",),
    ),
    "users": f.Declared(
        {
            "name": f.name("Who may sign in"),
            "roles": s.LIST.means("For which owners they act, JSON"),
            "password_hash": f.name("The hash of their password"),
            "is_active": f.flag("Whether they are let in"),
            "generation": f.integer("Sessions of an earlier one are over", 0),
            "created_at": f.instant("Since when"),
        },
        key=("name",),
    ),
    "user_events": f.Declared(
        {
            "id": s.ID,
            "name": f.text("Whose; empty where nobody has the name that was typed"),
            "event": f.name("What happened"),
            "address": f.text("From where"),
            "actor": f.text("Who did it"),
            "at": f.instant("When"),
        },
        key=("id",),
    ),
}
