"""Which asset carries which invariant, who answers for it, and what its failure stops."""

from collections.abc import Callable
from dataclasses import dataclass

from returns_pipeline.defs.assets.build import CUSTOMER_SERVICE, FINANCE, OPERATIONS
from returns_pipeline.domain.exceptions import runbook
from returns_pipeline.steps import exchange_tasks as exchanges
from returns_pipeline.steps import exporting
from returns_pipeline.steps import finance_invariants as books
from returns_pipeline.steps import invariants as ask
from returns_pipeline.steps.invariants import Finding, Scope


@dataclass(frozen=True, slots=True)
class Invariant:
    """One invariant on one asset.

    Args:
        question: Of ``steps.invariants``; its name is the check's, its text its description.
        asset: Which asset carries it.
        owner: Who acts where it does not hold.
        code: Of the exception catalogue: the page of the runbook.
        blocking: Whether what comes after is stopped: only where a wrong figure would
            leave the house.
    """

    question: Callable[[Scope], Finding]
    asset: str
    owner: str
    code: str
    blocking: bool = False

    @property
    def name(self) -> str:
        """The check's name."""
        return self.question.__name__

    @property
    def description(self) -> str:
        """What it asks, for people."""
        return " ".join((self.question.__doc__ or "").split())

    @property
    def runbook(self) -> str:
        """Where the runbook says what to do."""
        return runbook(self.code)


INVARIANTS = (
    Invariant(ask.every_return_has_an_order, "matches", CUSTOMER_SERVICE, "ORPHAN_RETURN"),
    Invariant(ask.no_more_returned_than_despatched, "matches", OPERATIONS, "QTY_EXCEEDS_ORDERED"),
    Invariant(
        ask.every_disposition_has_a_location,
        "linnworks_locations",
        OPERATIONS,
        "CONFIG_CONTRADICTION",
        blocking=True,
    ),
    Invariant(
        ask.sellable_and_damaged_never_share_a_location,
        "stock_adjustments",
        OPERATIONS,
        "CO_MINGLED_STOCK",
        blocking=True,
    ),
    Invariant(ask.no_unit_restocked_twice, "restocks", OPERATIONS, "DOUBLE_RESTOCK"),
    Invariant(
        ask.every_exchange_has_one_order, "replacements", CUSTOMER_SERVICE, "EXCHANGE_ORDER_MISSING"
    ),
    Invariant(
        ask.no_exchange_before_receipt, "replacements", OPERATIONS, "EXCHANGE_RELEASED_EARLY"
    ),
    Invariant(
        ask.uneven_exchange_is_never_free,
        "exchange_orders",
        FINANCE,
        "EXCHANGE_UNEVEN_ZERO_VALUE",
        blocking=True,
    ),
    Invariant(ask.no_refund_before_receipt, "refunds_due", FINANCE, "REFUND_AHEAD_OF_GATE"),
    Invariant(
        ask.every_refund_has_its_restock, "refunds_in_flight", OPERATIONS, "REFUND_OK_STOCK_FAILED"
    ),
    Invariant(ask.batch_balances, "batches", FINANCE, "BATCH_UNBALANCED", blocking=True),
    Invariant(ask.sealed_bytes_are_unchanged, "batches", FINANCE, "LEDGER_DRIFT", blocking=True),
    Invariant(
        ask.every_posting_is_in_one_batch,
        "batches",
        FINANCE,
        "CONTROL_TOTAL_MISMATCH",
        blocking=True,
    ),
    Invariant(
        ask.no_line_refunded_above_its_price,
        "batches",
        FINANCE,
        "REFUND_OVER_CEILING",
        blocking=True,
    ),
    Invariant(exporting.every_batch_has_its_files, "journal_files", FINANCE, "ACCOUNT_UNMAPPED"),
    Invariant(
        books.no_more_vat_reversed_than_charged,
        "batches",
        FINANCE,
        "VAT_RATE_UNKNOWN",
        blocking=True,
    ),
    Invariant(
        books.every_tender_line_is_its_refund,
        "batches",
        FINANCE,
        "CONTROL_TOTAL_MISMATCH",
        blocking=True,
    ),
    Invariant(
        books.reversals_take_back_their_originals,
        "batches",
        FINANCE,
        "BATCH_UNBALANCED",
        blocking=True,
    ),
    Invariant(
        exchanges.exchange_clearing_is_the_exchanges, "batches", FINANCE, "EXCHANGE_CLEARING_AGED"
    ),
    Invariant(books.goods_in_transit_are_owed_to_us, "batches", FINANCE, "CONTROL_TOTAL_MISMATCH"),
    Invariant(books.batches_come_out_of_their_payloads, "reconciliation", FINANCE, "LEDGER_DRIFT"),
    Invariant(
        books.every_unit_is_somewhere, "reconciliation", OPERATIONS, "CONTROL_TOTAL_MISMATCH"
    ),
    Invariant(
        books.refunds_sent_are_those_of_the_batches,
        "reconciliation",
        FINANCE,
        "CONTROL_TOTAL_MISMATCH",
    ),
    Invariant(books.yesterday_is_sealed, "exception_queue", FINANCE, "BATCH_INCOMPLETE"),
    Invariant(ask.every_write_is_settled, "exception_queue", OPERATIONS, "WRITE_UNKNOWN_OUTCOME"),
    Invariant(ask.our_own_books_are_sound, "exception_queue", OPERATIONS, "WRITE_UNKNOWN_OUTCOME"),
    Invariant(ask.every_source_is_fresh, "exception_queue", OPERATIONS, "SOURCE_STALE"),
    Invariant(ask.every_alert_is_delivered, "exception_queue", OPERATIONS, "ALERT_UNDELIVERED"),
)
