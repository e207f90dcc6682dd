"""A business day's postings as one sealed batch: lines, control totals, content hash.

The same postings always give the same bytes, in whatever order they come. Debit and credit
of a role are never netted, and every line carries its units. Which postings belong to a
day, and storing the batch, are ``steps.money``'s.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date
from decimal import Decimal

from returns_pipeline.domain.model import Posting

# Where a role's line stands in the batch; roles not named follow in their own order.
_ORDER = (
    "sales_returns",
    "shipping_refunded",
    "vat_output",
    "return_fee_income",
    "store_credit_liability",
    "exchange_clearing",
    "refund_clearing",
    "inventory",
    "returns_writeoff",
    "returned_goods_in_transit",
    "cogs_returns",
)
_RANK = {role: place for place, role in enumerate(_ORDER)}
_ID_LENGTH = 21
_SIDE_RANK = {"debit": 0, "credit": 1}


class Unbalanced(ValueError):  # noqa: N818 (it says what the books are)
    """Debits and credits differ: a defect of ours; nothing may be sealed."""


@dataclass(frozen=True, slots=True)
class BatchLine:
    """The sum of one role, account, tax key and side, and the units behind it."""

    number: int
    role: str
    account: str
    tax_key: str
    side: str
    amount_minor: int
    unit_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """One sealed batch of one entity, currency and business date."""

    id: str
    business_date: date
    origin_date: date
    kind: str
    entity: str
    currency: str
    policy_hash: str
    last_event_at: str
    lines: tuple[BatchLine, ...]
    totals: Mapping[str, int]
    hash: str
    watermarks: Mapping[str, str] = field(default_factory=dict)


def batch_id(business_date: date, entity: str, currency: str, number: str) -> str:
    """The batch's id, ``HRL-20260314-UKGBP-00``: 21 characters.

    It fits the journal number of QuickBooks Online (21) and Sage's reference (30).
    """
    made = f"HRL-{business_date:%Y%m%d}-{entity}{currency}-{number}"
    if len(made) != _ID_LENGTH:
        msg = f"{made!r} is not {_ID_LENGTH} characters long"
        raise ValueError(msg)
    return made


def consolidate(
    postings: Sequence[Posting],
    *,
    business_date: date,
    origin_date: date,
    entity: str,
    currency: str,
    number: str,
    kind: str,
    policy_hash: str,
    watermarks: Mapping[str, str] | None = None,
) -> Batch:
    """Sum postings into a batch.

    Args:
        postings: Of one currency, in any order.
        business_date: The day the batch is dated.
        origin_date: The day its events are of; another than the business date where the
            period of that day is locked.
        entity: Two characters.
        currency: ISO 4217.
        number: ``00`` primary, ``01``... adjustments, ``R1``... reversals.
        kind: ``primary``, ``adjustment`` or ``reversal``.
        policy_hash: Of the policy that decided.
        watermarks: The sources' high-water marks to be sealed with it, if any.

    Raises:
        Unbalanced: When debits and credits differ.
        ValueError: When a posting is in another currency, its side is unknown or its
            amount is not above zero (a negative debit is a credit that hides).
    """
    grouped: dict[tuple[str, str, str, str], list[Posting]] = defaultdict(list)
    for posting in postings:
        if posting.currency != currency:
            msg = f"{posting.posting_key} is in {posting.currency}, the batch in {currency}"
            raise ValueError(msg)
        if posting.side not in _SIDE_RANK or posting.amount_minor <= 0:
            msg = f"{posting.posting_key}: {posting.side} {posting.amount_minor}"
            raise ValueError(msg)
        grouped[posting.role, posting.account, posting.tax_key, posting.side].append(posting)
    lines = tuple(
        BatchLine(
            number=place,
            role=key[0],
            account=key[1],
            tax_key=key[2],
            side=key[3],
            amount_minor=sum(p.amount_minor for p in grouped[key]),
            unit_keys=tuple(sorted({p.unit_key for p in grouped[key]})),
        )
        for place, key in enumerate(sorted(grouped, key=_line_order), start=1)
    )
    totals = _totals(lines)
    identity = batch_id(business_date, entity, currency, number)
    if totals["debit"] != totals["credit"]:
        msg = f"{identity}: debit {totals['debit']}, credit {totals['credit']}"
        raise Unbalanced(msg)
    # The high-water mark is the last event the batch holds, not the time of a poll: a
    # close that was interrupted and begun again gives the same bytes.
    last = max((posting.occurred_at for posting in postings), default=None)
    batch = Batch(
        id=identity,
        business_date=business_date,
        origin_date=origin_date,
        kind=kind,
        entity=entity,
        currency=currency,
        policy_hash=policy_hash,
        last_event_at=last.astimezone(UTC).isoformat() if last else "",
        lines=lines,
        totals=totals,
        hash="",
        watermarks=dict(watermarks or {}),
    )
    return replace(batch, hash=content_hash(batch))


def _line_order(key: tuple[str, str, str, str]) -> tuple[int, int, str, str, Decimal, str]:
    role, account, tax, side = key
    rank = _RANK.get(role.partition(".")[0], len(_RANK))
    # As the accountant reads it: by account, debit before credit, the highest rate first.
    # The key itself last: no rate and the rate zero would else stand as they came.
    return (rank, _SIDE_RANK[side], account, role, -Decimal(tax or 0), tax)


def _totals(lines: Sequence[BatchLine]) -> dict[str, int]:
    def total(role: str, side: str) -> int:
        return sum(
            line.amount_minor
            for line in lines
            if line.role.partition(".")[0] == role and line.side == side
        )

    vat = total("vat_output", "debit")
    net = total("sales_returns", "debit") + total("shipping_refunded", "debit")
    totals = {
        "units": len({unit for line in lines for unit in line.unit_keys}),
        "gross": net + vat,
        "net": net,
        "vat": vat,
        "vat_on_fees": total("vat_output", "credit"),
        "fees": total("return_fee_income", "credit"),
        "shipping": total("shipping_refunded", "debit"),
        "store_credit": total("store_credit_liability", "credit"),
        "exchange": total("exchange_clearing", "credit"),
        "refunds": total("refund_clearing", "credit"),
        "cost_restocked": total("inventory", "debit"),
        "debit": sum(line.amount_minor for line in lines if line.side == "debit"),
        "credit": sum(line.amount_minor for line in lines if line.side == "credit"),
    }
    for line in lines:
        if line.role.startswith("refund_clearing.") and line.side == "credit":
            name = f"refunds.{line.role.partition('.')[2]}"
            totals[name] = totals.get(name, 0) + line.amount_minor
    return totals


def canonical_bytes(batch: Batch) -> bytes:
    """The batch as the bytes that are hashed: sorted keys, no spaces, integers only."""
    document = {
        "id": batch.id,
        "business_date": batch.business_date.isoformat(),
        "origin_date": batch.origin_date.isoformat(),
        "kind": batch.kind,
        "entity": batch.entity,
        "currency": batch.currency,
        "policy_hash": batch.policy_hash,
        "last_event_at": batch.last_event_at,
        "lines": [
            {
                "number": line.number,
                "role": line.role,
                "account": line.account,
                "tax": line.tax_key,
                "side": line.side,
                "amount_minor": line.amount_minor,
                "units": line.unit_keys,
            }
            for line in batch.lines
        ],
        "totals": dict(batch.totals),
        "watermarks": dict(batch.watermarks),
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def content_hash(batch: Batch) -> str:
    """SHA-256 of the batch's canonical bytes; the hash itself is no part of them."""
    return hashlib.sha256(canonical_bytes(batch)).hexdigest()
