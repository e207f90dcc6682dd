"""What was decided: matches, dispositions, gates, movements, refunds, the ledger."""

from __future__ import annotations

from typing import Any

from returns_pipeline.domain.exceptions import CATALOGUE
from returns_pipeline.domain.model import Disposition, RefundType, StockEffect
from returns_pipeline.domain.postings import ROLES
from returns_pipeline.schemas import fields as f
from returns_pipeline.schemas import shared as s

_ROLE = f.shaped("Ledger role", rf"(?:{'|'.join(ROLES)})(?:\..+)?")
_ACCOUNT = f.name("Account in the merchant's ledger")
_TAX_KEY = f.text("VAT rate in percent, empty where there is none")
_BATCH_ID = f.shaped("The sealed batch", r"HRL-\d{8}-[0-9A-Z]{2}[A-Z]{3}-[0-9A-Z]{2}")
_BATCHED = _BATCH_ID.means("The sealed batch that holds it").or_null
_ENTITY = f.shaped("The unit of the books: entity and channel group, two characters", r"\S{2}")
_AMOUNT = f.minor("Amount; zero only where it is money in the merchant's currency alone", 0)
_BASE = f.minor("The same in the merchant's currency, where that is another", 0).or_null


def _within(part: str, whole: str) -> f.Rule:
    return f.Rule(f"{part} is within {whole}", lambda frame: frame[part] <= frame[whole])


def _leaves_money(frame: Any) -> Any:
    """Exchanges for something cheaper, or turned into a refund: the rest is paid."""
    return (frame["tender"] == "exchange") & (
        frame["new_value_minor"] < frame["amount_minor"]
    ).fillna(value=False)


_NOT_NOTHING = f.Rule(
    "an amount of nothing is money in the merchant's currency",
    lambda frame: (frame["amount_minor"] > 0) | (frame["base_minor"].fillna(0) > 0),
)


def _matched_has_row(frame: Any) -> Any:
    columns = ["order_id", "row_id", "unit_no"]
    matched = frame["outcome"] == "matched"
    return frame[columns].notna().all(axis="columns") | ~matched


DECLARED = {
    "matches": f.Declared(
        {
            "id": s.ID,
            "unit_key": s.UNIT_KEY,
            "outcome": f.word("What came of it", ("matched", "orphan", "ambiguous", "waiting")),
            "code": f.word("Exception of an unmatched unit", ("", *CATALOGUE)),
            "reason": f.text("Why it is not matched"),
            "rule": f.word(
                "How the line was found",
                ("", "row_id", "line_id", "line_id_suffix", "sku", "decision"),
            ),
            "order_id": s.ORDER_ID.or_null,
            "row_id": s.ROW_ID.or_null,
            "unit_no": f.integer("Which unit of the line, from 0", 0).or_null,
            "candidates": f.text("What it may be, one a line"),
            "since_at": f.instant("Since when this is the outcome"),
            "decided_at": s.CREATED_AT,
        },
        key=("unit_key",),
        rules=(
            f.Rule("a matched unit has its order, line and number", _matched_has_row),
            f.present_when("row_id", "outcome", "matched"),
            f.Rule(
                "an unmatched unit says by which code",
                lambda frame: (frame["code"] == "") == (frame["outcome"] == "matched"),
            ),
            f.not_before("decided_at", "since_at"),
        ),
    ),
    "dispositions": f.Declared(
        {
            "id": s.ID,
            "unit_key": s.UNIT_KEY,
            "sequence": f.integer("Which decision of the unit, from 0", 0),
            "source_code": f.text("The inspected condition's code; a person may decide before it"),
            "disposition": f.word("Canonical disposition", Disposition),
            "effect": f.word("What it does to stock", StockEffect),
            "location_id": s.LOCATION_ID,
            "is_sellable": f.flag("Whether it may be sold from there"),
            "refund": f.word("Whether the refund may go on", ("allow", "hold")),
            "role": f.text("Ledger role of the cost"),
            "policy_hash": s.POLICY_HASH,
            "decided_at": s.CREATED_AT,
        },
        key=("unit_key", "sequence"),
        rules=(
            f.Rule(
                "what moves stock names a location",
                lambda frame: (frame["effect"] == "none") | (frame["location_id"] != ""),
            ),
            f.Rule(
                "only what is restocked is sellable",
                lambda frame: ~frame["is_sellable"] | (frame["effect"] == "restock"),
            ),
        ),
    ),
    "gates": f.Declared(
        {
            "unit_key": s.UNIT_KEY,
            "gate": f.word("Which gate", ("stock", "refund", "exchange")),
            "is_cleared": f.flag("Whether it stands open"),
            "code": f.text("What holds it"),
            "reason": f.text("The same in words"),
            "exception": f.word("The exception that opens, if any", ("", *CATALOGUE)),
            "at": f.instant("When its evidence was complete").or_null,
            "since_at": f.instant("Since when this is the verdict"),
        },
        key=("unit_key", "gate"),
        rules=(
            f.Rule(
                "an open gate has its instant, a shut one its code",
                lambda frame: (
                    (frame["is_cleared"] == frame["at"].notna())
                    & (frame["is_cleared"] == (frame["code"] == ""))
                ),
            ),
        ),
    ),
    "stock_adjustments": f.Declared(
        {
            "id": s.ID,
            "adjustment_key": f.name("The movement"),
            "unit_key": s.UNIT_KEY,
            "kind": f.word("What moves", ("restock", "scrap", "move")),
            "order_id": s.ORDER_ID,
            "row_id": s.ROW_ID,
            "sku": s.SKU,
            "location_id": f.name("Where it goes"),
            "from_location_id": s.LOCATION_ID.means("Where a move takes it from"),
            "quantity": f.integer("Always one", 1, 1),
            "scrap_quantity": f.integer("Of that, written off", 0, 1),
            "is_sellable": f.flag("Whether it may be sold from there"),
            "role": f.text("Ledger role of the cost"),
            "state": f.word("How far it is", ("ready", "intended", "posted", "held")),
            "intent_key": s.INTENT_KEY,
            "rma_header_id": f.integer("Linnworks' RMA").or_null,
            "rma_row_id": f.integer("Its row").or_null,
            "posted_at": f.instant("When it stood in stock").or_null,
            "is_ledgered": s.IS_LEDGERED,
            "note": s.NOTE,
            "policy_hash": s.POLICY_HASH,
            "created_at": s.CREATED_AT,
        },
        key=("adjustment_key",),
        rules=(
            f.present_when("posted_at", "state", "posted"),
            f.needed_when("intent_key", "state", "intended"),
            f.Rule(
                "what is scrapped is written off, what is restocked is not",
                lambda frame: (
                    (frame["kind"] == "move")
                    | ((frame["kind"] == "scrap") == (frame["scrap_quantity"] == 1))
                ),
            ),
            f.Rule(
                "only a move has a place it comes from",
                lambda frame: (frame["kind"] == "move") == (frame["from_location_id"] != ""),
            ),
        ),
    ),
    "refunds_due": f.Declared(
        {
            "id": s.ID,
            "refund_key": f.name("The refund"),
            "unit_key": s.UNIT_KEY,
            "order_id": s.ORDER_ID,
            "row_id": s.ROW_ID,
            "currency": s.CURRENCY,
            "goods_minor": f.minor("Goods, gross", 0),
            "goods_vat_minor": f.minor("VAT in the goods", 0),
            "shipping_minor": f.minor("Shipping, gross", 0),
            "shipping_vat_minor": f.minor("VAT in the shipping", 0),
            "fee_minor": f.minor("Fee kept, gross", 0),
            "fee_vat_minor": f.minor("VAT in the fee", 0),
            "amount_minor": f.minor("What is paid: goods and shipping less fee", 0),
            "tax_rate_bp": f.integer("VAT rate, basis points"),
            "tender": f.word("In what it is paid", [t for t in RefundType if t != "none"]),
            "gateway": f.text("The payment gateway"),
            "executor": f.word("Who pays", ("linnworks", "happy_returns", "ledger")),
            "effective_at": f.instant("Since when it is owed"),
            "business_date": s.BUSINESS_DATE,
            "state": f.word(
                "How far it is", ("due", "batched", "held", "actioned", "recorded", "refused")
            ),
            "batch_id": _BATCHED,
            "intent_key": s.INTENT_KEY,
            "refund_header_id": f.integer("Linnworks' refund").or_null,
            "settled_at": f.instant("When it was done or refused").or_null,
            "is_ledgered": s.IS_LEDGERED,
            "note": s.NOTE,
            "policy_hash": s.POLICY_HASH,
            "created_at": s.CREATED_AT,
            "attempt": f.integer("How often it was refused and put back", 0),
            "new_value_minor": f.minor("What was ordered for an exchanged unit", 0).or_null,
            "cleared_at": f.instant("When its two legs met on exchange clearing").or_null,
            "cleared_on": f.day("The business date of that").or_null,
        },
        key=("refund_key",),
        rules=(
            f.Rule(
                "the parts make the amount",
                lambda frame: (
                    frame["amount_minor"]
                    == frame["goods_minor"] + frame["shipping_minor"] - frame["fee_minor"]
                ),
            ),
            _within("goods_vat_minor", "goods_minor"),
            _within("shipping_vat_minor", "shipping_minor"),
            _within("fee_vat_minor", "fee_minor"),
            f.Rule(
                "only a refund in money, or what an exchange leaves, has one who pays it",
                lambda frame: (
                    (frame["executor"] == "ledger")
                    == ((frame["tender"] != "refund") & ~_leaves_money(frame))
                ),
            ),
            f.needed_when("batch_id", "state", "batched", "actioned", "recorded"),
            f.present_when("settled_at", "state", "actioned", "recorded", "refused"),
        ),
    ),
    "exchange_orders": f.Declared(
        {
            "id": s.ID,
            "exchange_key": f.name("The replacement"),
            "unit_key": s.UNIT_KEY,
            "order_id": s.ORDER_ID.means("The original order"),
            "reference": f.name("Its order number, made from its content"),
            "sku": f.name("SKU of the replacement"),
            "quantity": f.integer("Units of it", 1),
            "unit_price_minor": f.minor("Price of one", 0),
            "currency": s.CURRENCY,
            "is_even": f.flag("Whether it costs what the original cost"),
            "state": f.word("How far it is", ("ready", "intended", "created", "held")),
            "intent_key": s.INTENT_KEY,
            "new_order_id": f.name("Linnworks' id of the replacement").or_null,
            "created_order_at": f.instant("When it was ordered").or_null,
            "note": s.NOTE,
            "policy_hash": s.POLICY_HASH,
            "created_at": s.CREATED_AT,
        },
        key=("exchange_key",),
        rules=(
            f.Rule(
                "what is even is free, and nothing else",
                lambda frame: frame["is_even"] == (frame["unit_price_minor"] == 0),
            ),
            f.present_when("new_order_id", "state", "created"),
            f.present_when("created_order_at", "state", "created"),
            f.needed_when("intent_key", "state", "intended", "created"),
        ),
    ),
    "postings": f.Declared(
        {
            "id": s.ID,
            "posting_key": f.name("The ledger line"),
            "unit_key": s.UNIT_KEY,
            "role": _ROLE,
            "account": _ACCOUNT,
            "tax_key": _TAX_KEY,
            "side": s.SIDE,
            "amount_minor": _AMOUNT,
            "currency": s.CURRENCY,
            "entity": _ENTITY,
            "occurred_at": f.instant("When it happened"),
            "business_date": s.BUSINESS_DATE,
            "batch_id": _BATCHED,
            "line_number": f.integer("Its line of the batch", 0).or_null,
            "policy_hash": s.POLICY_HASH,
            "created_at": s.CREATED_AT,
            "event_key": f.text("The refund or stock movement it is of"),
            "base_minor": _BASE,
        },
        key=("posting_key",),
        rules=(
            _NOT_NOTHING,
            f.Rule(
                "batch and line go together",
                lambda frame: frame["batch_id"].notna() == frame["line_number"].notna(),
            ),
        ),
    ),
    "batches": f.Declared(
        {
            "batch_id": _BATCH_ID,
            "kind": f.word(
                "Which batch of its day", ("primary", "adjustment", "reversal", "replacement")
            ),
            "state": f.word("How far it is", ("sealed", "exported", "posted", "reversed")),
            "entity": _ENTITY,
            "currency": s.CURRENCY,
            "business_date": s.BUSINESS_DATE.means("The day it is dated"),
            "origin_date": f.day("The day its events are of"),
            "hash": f.shaped("SHA-256 of its canonical bytes", "[0-9a-f]{64}"),
            "body": s.OBJECT.means("The canonical bytes, JSON"),
            "totals": s.OBJECT.means("Control totals, minor units, JSON"),
            "policy_hash": s.POLICY_HASH,
            "sealed_at": f.instant("When it was sealed"),
            "posted_at": f.instant("When all its refunds were settled").or_null,
            "run_id": s.RUN_ID,
            "legal_entity": f.text("The legal entity whose books it is of"),
            "channel_group": f.text("The channels whose orders it holds"),
            "base_currency": f.text("The merchant's currency, ISO 4217"),
            "description": f.text("What it is for, in words; of a correction"),
            "reverses_id": _BATCH_ID.means("Of a reversal: the batch it takes back").or_null,
            "replaces_id": _BATCH_ID.means("Of a replacement: the batch it stands for").or_null,
            "complete_at": f.instant("When its sources were known to be read").or_null,
            "exported_at": f.instant("When its journal was written").or_null,
            "reversed_at": f.instant("When it was reversed").or_null,
            "ledger_id": f.text("The journal in the ledger, once somebody gave it"),
            "confirmed_at": f.instant("When that was given").or_null,
        },
        key=("batch_id",),
        rules=(
            f.needed_when("posted_at", "state", "posted"),
            f.needed_when("exported_at", "state", "exported"),
            f.present_when("reversed_at", "state", "reversed"),
            f.present_when("reverses_id", "kind", "reversal"),
            f.present_when("replaces_id", "kind", "replacement"),
            f.not_before("business_date", "origin_date"),
            f.not_before("posted_at", "sealed_at"),
            f.Rule(
                "its id names its day, unit of the books and currency",
                lambda frame: (
                    frame["batch_id"].str[4:18]
                    == frame["business_date"].dt.strftime("%Y%m%d-")
                    + frame["entity"]
                    + frame["currency"]
                ),
            ),
        ),
    ),
    "batch_events": f.Declared(
        {
            "id": s.ID,
            "batch_id": _BATCH_ID,
            "state": f.word(
                "What it came to",
                ("open", "complete", "sealed", "exported", "posted", "confirmed", "reversed"),
            ),
            "at": f.instant("When"),
            "run_id": s.RUN_ID,
            "detail": f.text("What proves it, or why"),
        },
        key=("id",),
    ),
    "batch_exports": f.Declared(
        {
            "id": s.ID,
            "batch_id": _BATCH_ID,
            "target": f.name("The accounting program its files are for"),
            "hash": f.shaped("SHA-256 of the batch's own rows in them", "[0-9a-f]{64}"),
            "policy_hash": s.POLICY_HASH.means("The policy with the names they bear"),
            "exported_at": f.instant("When they were written"),
            "run_id": s.RUN_ID,
        },
        key=("id",),
    ),
    "ledger_answers": f.Declared(
        {
            "id": s.ID,
            "batch_id": _BATCH_ID,
            "target": f.name("The accounting program"),
            "is_taken": f.flag("Whether it took the file; else it refused it"),
            "reason": f.text("What it said, in the words of whoever told"),
            "told_by": f.text("Who told"),
            "told_at": f.instant("When"),
        },
        key=("id",),
    ),
    "period_locks": f.Declared(
        {
            "id": s.ID,
            "period": f.shaped("The month", r"\d{4}-(?:0[1-9]|1[0-2])"),
            "is_locked": f.flag("Whether it is locked from then on"),
            "reason": f.text("Why, in their words"),
            "changed_by": f.text("Who said so"),
            "changed_at": f.instant("When"),
        },
        key=("id",),
    ),
    "closed_days": f.Declared(
        {
            "business_date": s.BUSINESS_DATE,
            "closed_at": f.instant("When it was closed"),
            "run_id": s.RUN_ID,
        },
        key=("business_date",),
    ),
    "batch_lines": f.Declared(
        {
            "batch_id": _BATCH_ID,
            "number": f.integer("Place in the batch", 0),
            "role": _ROLE,
            "account": _ACCOUNT,
            "tax_key": _TAX_KEY,
            "side": s.SIDE,
            "amount_minor": _AMOUNT,
            "currency": s.CURRENCY,
            "unit_keys": s.LIST.means("The units in it, JSON"),
            "base_minor": _BASE,
        },
        key=("batch_id", "number"),
        rules=(_NOT_NOTHING,),
    ),
}
