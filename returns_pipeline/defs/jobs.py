"""The jobs of the day's work. When each is started is ``automation``'s."""

import dagster as dg

# One tick: both vendors read, through to posted stock and exchanges. Ledger lines are
# entered; money waits for its day.
SYNC = (
    "linnworks_locations",
    "linnworks_order_payloads",
    "orders",
    "order_lines",
    "happy_returns_payloads",
    "returns",
    "return_items",
    "unit_events",
    "receipts",
    "orders_by_reference",
    "matches",
    "dispositions",
    "stock_adjustments",
    "bookings_read",
    "refunds_read",
    "restocks",
    "exchange_orders",
    "replacements",
    "refunds_due",
    "refunds_in_flight",
    "postings",
    "unit_settlement",
    "exception_queue",
)
CLOSE = ("batches", "batch_refunds", "journal_files")
RECONCILE = ("reconciliation", "day_three_ways", "unit_settlement", "exception_queue")

# A poll that was lost is made up for by the next one.
_NOT_AGAIN = {"dagster/max_retries": "0"}

sync_returns = dg.define_asset_job(
    "sync_returns",
    selection=dg.AssetSelection.assets(*SYNC),
    description=(
        "One poll of both vendors: what is new is read, matched and decided; stock and "
        "exchanges are posted at once. Begins no refund."
    ),
    tags=_NOT_AGAIN,
    executor_def=dg.in_process_executor,
)

close_business_day = dg.define_asset_job(
    "close_business_day",
    selection=dg.AssetSelection.assets(*CLOSE),
    description=(
        "One business day: its batch is sealed, its refunds are carried out, its journal is "
        "written. A sealed day closed again changes nothing; what came late for it joins an "
        "adjustment batch."
    ),
    executor_def=dg.in_process_executor,
)

reconcile_returns = dg.define_asset_job(
    "reconcile_returns",
    selection=dg.AssetSelection.assets(*RECONCILE),
    description=(
        "Reads Linnworks back and compares; tells one business day three ways; brings the "
        "exception queue up to date."
    ),
    tags=_NOT_AGAIN,
    executor_def=dg.in_process_executor,
)

refresh_exceptions = dg.define_asset_job(
    "refresh_exceptions",
    selection=dg.AssetSelection.assets("exception_queue"),
    description=(
        "Brings the exception queue up to date from what is stored, without asking a vendor: "
        "started by itself when a poll failed, so that its silence is somebody's task too."
    ),
    tags=_NOT_AGAIN,
    executor_def=dg.in_process_executor,
)

export_journals = dg.define_asset_job(
    "export_journals",
    selection=dg.AssetSelection.assets("ledger_files"),
    description=(
        "Files for the accounting program, of a day, a month or one batch: say which, and for "
        "which program, in the launchpad."
    ),
    tags=_NOT_AGAIN,
    executor_def=dg.in_process_executor,
)

close_month = dg.define_asset_job(
    "close_month",
    selection=dg.AssetSelection.assets("month_end_pack"),
    description=(
        "The month-end pack: batch register, VAT summary, open balances with their items, late "
        "arrivals, sign-off. Reads what is sealed; seals and pays nothing."
    ),
    tags=_NOT_AGAIN,
    executor_def=dg.in_process_executor,
)

reverse_batch = dg.define_asset_job(
    "reverse_batch",
    selection=dg.AssetSelection.assets("batch_corrections"),
    description=(
        "Takes a sealed batch back and makes it anew under the policy of now, with the journals "
        "of both: say which and why, in the launchpad."
    ),
    tags=_NOT_AGAIN,
    executor_def=dg.in_process_executor,
)

JOBS = (
    sync_returns,
    close_business_day,
    reconcile_returns,
    refresh_exceptions,
    export_journals,
    close_month,
    reverse_batch,
)
