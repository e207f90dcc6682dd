"""Finance: what is owed as it happens; one sealed batch a business day."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg
import sqlalchemy as sa
from pydantic import Field

from returns_pipeline.defs import metadata
from returns_pipeline.defs.assets.build import FINANCE, Told, step_assets
from returns_pipeline.defs.assets.exports import of_outcomes
from returns_pipeline.defs.partitions import POLICY, ZONE, business_days, days_of
from returns_pipeline.defs.resources import LINNWORKS_POOL, TABLES_POOL, Pipeline
from returns_pipeline.steps import (
    account,
    act,
    closing,
    corrections,
    decide,
    exporting,
    money,
)
from returns_pipeline.steps.figures import Breakdown, of_open_units
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading

SEALED_BY = POLICY.finance.sealed_by
_due, _entered = t.refunds_due.c, t.postings.c

refunds_due = step_assets(
    decide.refunds,
    Told(
        name="refunds_due",
        description=(
            "What each returned unit is owed, from what was paid for its order line, less a "
            "fee. Nothing is owed before the goods are back, unless the policy says so."
        ),
        owner=FINANCE,
        table=t.refunds_due,
        deps=("matches", "dispositions"),
        tags={"holds": "money"},
        breakdowns=(
            Breakdown(
                "waiting to be paid",
                t.refunds_due,
                (_due.state, _due.tender, _due.currency),
                (_due.state.in_(("due", "batched")),),
                amount=_due.amount_minor,
            ),
            Breakdown(
                "held from refund",
                of_open_units(t.gates),
                (t.gates.c.code,),
                (t.gates.c.gate == "refund", ~t.gates.c.is_cleared, t.return_items.c.is_open),
            ),
        ),
    ),
    group="finance",
)

refunds_in_flight = step_assets(
    act.refunds,
    Told(
        name="refunds_in_flight",
        description=(
            "Refunds of days already closed whose answer was lost, read back and finished. A "
            "poll never begins a refund: only closing a day does."
        ),
        owner=FINANCE,
        deps=("refunds_due",),
        kinds=("linnworks", "python"),
        tags={"moves": "money", "writes": "linnworks"},
    ),
    group="finance",
    pool=LINNWORKS_POOL,
)

postings = step_assets(
    money.postings,
    Told(
        name="postings",
        description=(
            "The ledger's lines, unit by unit, as things happen: refunds, VAT, stock and cost. "
            "They wait here for the batch of their business day."
        ),
        owner=FINANCE,
        table=t.postings,
        deps=("refunds_due", "restocks"),
        tags={"holds": "money"},
        breakdowns=(
            Breakdown(
                "debits waiting for a batch",
                t.postings,
                (_entered.business_date, _entered.currency),
                (_entered.batch_id.is_(None), _entered.side == "debit"),
                amount=_entered.amount_minor,
            ),
        ),
    ),
    group="finance",
)


# --- the day ----------------------------------------------------------------------


class Close(dg.Config):
    """How a day is closed, where that is not as always."""

    force: str = Field(
        default="",
        description=(
            "Why the day is sealed although its sources were not read to its end; kept with "
            "its batches. Empty: it is not sealed then."
        ),
    )


class Correction(dg.Config):
    """Which batch is taken back, and why."""

    batch: str = Field(description="The batch, such as HRL-20260314-UKGBP-00.")
    reason: str = Field(description="Why; it stands in the reversal and in the replacement.")
    replace: bool = Field(
        default=True,
        description="Whether its events are entered anew under the policy in force.",
    )


BATCHES = Told(
    name="batches",
    description=(
        "The financial batch of a business day, sealed with a content hash: one a currency, "
        "and an adjustment batch for what comes late. A sealed batch never changes; closing a "
        "sealed day again changes nothing and says so."
    ),
    owner=FINANCE,
    table=t.batches,
    # Yesterday, sealed in the night; one of the day before would be too old by then.
    freshness=dg.FreshnessPolicy.cron(
        deadline_cron=f"{SEALED_BY.minute} {SEALED_BY.hour} * * *",
        lower_bound_delta=timedelta(hours=SEALED_BY.hour, minutes=SEALED_BY.minute)
        or timedelta(days=1),
        timezone=ZONE,
    ),
    deps=("postings",),
    tags={"holds": "money"},
)
BATCH_REFUNDS = Told(
    name="batch_refunds",
    description=(
        "The refunds of the day's sealed batches, carried out once each by the declared "
        "executor. In shadow mode nothing is sent."
    ),
    owner=FINANCE,
    deps=("batches",),
    kinds=("linnworks", "python"),
    tags={"moves": "money", "writes": "linnworks"},
)
JOURNAL_FILES = Told(
    name="journal_files",
    description=(
        "The day's journal for the accounts: a CSV and a manifest a batch, and files for the "
        "accounting programs the policy names. The same bytes every time."
    ),
    owner=FINANCE,
    deps=("batches", "batch_refunds"),
    kinds=("python", "csv"),
    tags={"holds": "money"},
)

CURRENCIES = "currencies"
SEALED_BATCHES = Told(
    name="sealed_batches",
    description=(
        "The sealed batches by business day and currency, each with its lines and control "
        "totals. Told by the close of the day; nothing is computed here."
    ),
    owner=FINANCE,
    deps=("batches",),
    tags={"holds": "money"},
)
CORRECTIONS = Told(
    name="batch_corrections",
    description=(
        "Batches that were taken back by a reversal, and what stands for them under the "
        "policy of now, with their journals. Started by hand, with the batch and the reason."
    ),
    owner=FINANCE,
    deps=("batches",),
    tags={"holds": "money"},
)
_BY_CURRENCY = dg.MultiPartitionsDefinition(
    {"day": business_days, "currency": dg.DynamicPartitionsDefinition(name=CURRENCIES)}
)
TOLD = (SEALED_BATCHES.spec("finance", _BY_CURRENCY),)
"""Assets that no step of their own makes: another one tells what becomes of them."""


def _day_by_day(
    context: dg.AssetExecutionContext,
    rt: Runtime,
    work: Callable[[Runtime, date], Mapping[str, Any]],
) -> None:
    """Do the partitions one by one, each with its own metadata.

    Days done before one that fails stay done: they are recorded as materialised, although
    Dagster itself records nothing of a range that failed.
    """
    done: list[tuple[str, Mapping[str, Any]]] = []
    try:
        for day in days_of(list(context.partition_keys)):
            before = rt.calls()
            told = {**work(rt, day), **metadata.calls(rt.calls() - before)}
            done.append((day.isoformat(), told))
    except BaseException:
        for key, found in done:
            context.log_event(
                dg.AssetMaterialization(context.asset_key, partition=key, metadata=found)
            )
        raise
    for key, found in done:
        context.add_asset_metadata(found, partition_key=key)


@dg.multi_asset(
    name="batches",
    specs=[BATCHES.spec("finance", business_days)],
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=TABLES_POOL,
)
def batches(context: dg.AssetExecutionContext, config: Close, pipeline: Pipeline) -> None:
    """Seal each day; where one of them is not over, none."""

    def seal(rt: Runtime, day: date) -> Mapping[str, Any]:
        result = money.seal(rt, day, lag=lag, force=config.force)
        context.log.info(result.message)
        _tell_by_currency(context, rt, day, result.sealed)
        return {
            **metadata.counts({"sealed": len(result.sealed), "already": len(result.already)}),
            "outcome": dg.MetadataValue.text(result.message),
            **_of_day(rt, day),
        }

    # A person may close a day as soon as it is over; the schedule gives its sources the
    # time the policy grants them.
    by_schedule = "dagster/schedule_name" in context.run.tags
    with pipeline.step(context) as rt:
        lag = rt.policy.finance.close_lag if by_schedule else timedelta()
        for day in days_of(list(context.partition_keys)):
            closing.require_over(rt, day, lag=lag)
        _day_by_day(context, rt, seal)


def _tell_by_currency(
    context: dg.AssetExecutionContext, rt: Runtime, day: date, sealed: Sequence[str]
) -> None:
    """Each batch that was sealed, on its day and currency, its totals as numbers to plot."""
    for batch in account.closed_day(rt.engine, day)["batches"]:
        if batch["id"] not in sealed:
            continue
        currency = batch["currency"]
        context.instance.add_dynamic_partitions(CURRENCIES, [currency])
        told = [
            {
                "line": line["number"],
                "role": line["role"],
                "account": line["account"],
                "VAT": line["tax_rate"],
                "side": line["side"],
                "amount_minor": line["amount_minor"],
                "currency": currency,
                "units": len(line["item_ids"]),
            }
            for line in batch["lines"]
        ]
        context.log_event(
            dg.AssetMaterialization(
                SEALED_BATCHES.name,
                partition=dg.MultiPartitionKey({"day": day.isoformat(), "currency": currency}),
                metadata={
                    "batch": dg.MetadataValue.text(batch["id"]),
                    "content hash": dg.MetadataValue.text(batch["hash"]),
                    "lines": metadata.table(told),
                    **{
                        f"totals/{name}": dg.MetadataValue.int(minor)
                        for name, minor in batch["totals"].items()
                    },
                },
            )
        )


def _of_day(rt: Runtime, day: date) -> Mapping[str, Any]:
    """The day's batches as a table, and its totals."""
    lines = []
    totals: dict[str, Counter[str]] = {name: Counter() for name in _PLOTTED}
    for batch in account.closed_day(rt.engine, day)["batches"]:
        told = batch["totals"]
        for name, plotted in _PLOTTED.items():
            totals[name][batch["currency"]] += told[plotted]
        lines.append(
            {
                "batch": batch["id"],
                "kind": batch["kind"],
                "state": batch["state"],
                "currency": batch["currency"],
                "units": told["units"],
                "debit_minor": told["debit"],
                "credit_minor": told["credit"],
                "refunds_minor": told["refunds"],
                "content hash": batch["hash"][:16],
            }
        )
    with reading(rt.engine) as connection:
        rows = metadata.rows(connection, t.batches)
    return {
        "batches of the day": metadata.table(lines),
        "dagster/partition_row_count": dg.MetadataValue.int(len(lines)),
        **rows,
        **{k: v for name in _PLOTTED for k, v in metadata.amounts(name, totals[name]).items()},
    }


# Plotted over time: what people call it, and its name among the control totals.
_PLOTTED = {
    "debits": "debit",
    "refunds": "refunds",
    "gross": "gross",
    "net": "net",
    "VAT": "vat",
    "fees": "fees",
    "shipping": "shipping",
    "store credit": "store_credit",
}


@dg.multi_asset(name="batch_corrections", specs=[CORRECTIONS.spec("finance")], pool=TABLES_POOL)
def batch_corrections(
    context: dg.AssetExecutionContext, config: Correction, pipeline: Pipeline
) -> Iterator[dg.MaterializeResult[Any]]:
    """Take one batch back; by hand, with its reason. Its journals are written at once."""
    with pipeline.step(context, vendors=False) as rt:
        made = corrections.reverse(rt, config.batch, reason=config.reason, replace=config.replace)
        folder = closing.journal_folder(rt.settings)
        ids = (made.reversal_id, *made.replacement_ids)
        outcomes = exporting.export_batches(rt, ids, folder)
        money.mark_posted(rt, made.origin_date)
        yield dg.MaterializeResult(
            asset_key="batch_corrections",
            metadata={
                **metadata.counts({"reversed": 1, "replacements": len(made.replacement_ids)}),
                "folder": dg.MetadataValue.path(str(folder)),
                **of_outcomes(outcomes),
                metadata.DOCUMENT: dg.MetadataValue.json(
                    {
                        "reversed": made.reversed_id,
                        "reversal": made.reversal_id,
                        "replacements": list(made.replacement_ids),
                        "origin_date": made.origin_date.isoformat(),
                        "targets": [outcome.document() for outcome in outcomes],
                    }
                ),
            },
        )


@dg.multi_asset(
    name="batch_refunds",
    specs=[BATCH_REFUNDS.spec("finance", business_days)],
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=LINNWORKS_POOL,
)
def batch_refunds(context: dg.AssetExecutionContext, pipeline: Pipeline) -> None:
    """Carry out each day's refunds."""

    def refund(rt: Runtime, day: date) -> Mapping[str, Any]:
        return {**metadata.counts(act.refunds(rt, day)), **_refunds_of_day(rt, day)}

    with pipeline.step(context) as rt:
        _day_by_day(context, rt, refund)


def _refunds_of_day(rt: Runtime, day: date) -> Mapping[str, Any]:
    with reading(rt.engine) as connection:
        ids = sa.select(t.batches.c.batch_id).where(t.batches.c.origin_date == day)
        by_state = Breakdown(
            "refunds by state",
            t.refunds_due,
            (_due.state, _due.executor, _due.currency),
            (_due.batch_id.in_(ids),),
            amount=_due.amount_minor,
        )
        return metadata.breakdowns(connection, [by_state])


@dg.multi_asset(
    name="journal_files",
    specs=[JOURNAL_FILES.spec("finance", business_days)],
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=TABLES_POOL,
)
def journal_files(context: dg.AssetExecutionContext, pipeline: Pipeline) -> None:
    """Write each day's journal; what is paid then is done, and not closed again."""

    def write(rt: Runtime, day: date) -> Mapping[str, Any]:
        folder = closing.journal_folder(rt.settings)
        outcomes = exporting.export_day(rt, day, folder)
        files = sum(len(one.files) for one in outcomes)
        return {
            **metadata.counts({"files": files, **money.mark_posted(rt, day)}),
            "folder": dg.MetadataValue.path(str(folder)),
            **of_outcomes(outcomes),
        }

    with pipeline.step(context) as rt:
        _day_by_day(context, rt, write)


ASSETS = (
    refunds_due,
    refunds_in_flight,
    postings,
    batches,
    batch_refunds,
    journal_files,
    batch_corrections,
)
