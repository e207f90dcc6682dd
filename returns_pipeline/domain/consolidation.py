"""A business day's postings as one sealed batch: lines, control totals, content hash.

The same postings always give the same bytes, in whatever order they come. Debit and credit
of a role are never netted, and every line carries its units. Which postings belong to a
day, and storing the batch, are ``steps.money``'s.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date
from decimal import Decimal

from returns_pipeline.domain.model import Posting

# Where a role's line stands in the batch; roles not named follow in their own order.
_ORDER = (
    "sales_returns",
    "discount_reversal",
    "shipping_refunded",
    "vat_output",
    "return_fee_income",
    "store_credit_liability",
    "exchange_clearing",
    "refund_clearing",
    "inventory",
    "returns_writeoff",
    "in_transit_loss",
    "returned_goods_in_transit",
    "cogs_returns",
)
_RANK = {role: place for place, role in enumerate(_ORDER)}
_ID_LENGTH = 21
_SIDE_RANK = {"debit": 0, "credit": 1}


class Unbalanced(ValueError):  # noqa: N818 (it says what the books are)
    """Debits and credits differ: a defect of ours; nothing may be sealed."""


class NumbersUsedUp(ValueError):  # noqa: N818 (it says what is so)
    """A day has had as many batches as its numbers can tell apart; nothing was sealed."""


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
    base_minor: int | None = None
    """In the merchant's currency, where the batch is in another."""


@dataclass(frozen=True, slots=True)
class Books:
    """In whose books a batch is: the legal entity, its channels, its own currency."""

    legal_entity: str = ""
    channel_group: str = ""
    base_currency: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """One sealed batch of one unit of the books, currency and business date."""

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
    books: Books = Books()
    description: str = ""
    reverses_id: str = ""
    replaces_id: str = ""


_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_REVERSAL = "R"
_ADJUSTMENTS = (
    *(f"{n:02d}" for n in range(1, 100)),
    *(a + b for a in _ALPHABET[10:] if a != _REVERSAL for b in _ALPHABET),
)
_REVERSALS = tuple(_REVERSAL + n for n in _ALPHABET[1:])
PRIMARY = "00"


def next_number(taken: Collection[str], *, kind: str) -> str:
    """The first number of its kind that is free among a day's batches.

    ``00`` is the primary; adjustments and replacements have ``01`` to ``99``, then ``A0``
    to ``ZZ``; reversals ``R1`` to ``RZ``.

    Raises:
        NumbersUsedUp: When there is none: 999 corrections of one day are a defect elsewhere.
    """
    if kind == "primary" and PRIMARY not in taken:
        return PRIMARY
    numbers = _REVERSALS if kind == "reversal" else _ADJUSTMENTS
    for number in numbers:
        if number not in taken:
            return number
    msg = (
        f"all {len(numbers)} numbers of a day's {kind} batches are taken: something makes "
        "batches over and over. Nothing was sealed; find out what, before it is closed again."
    )
    raise NumbersUsedUp(msg)


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
    books: Books = Books(),
    description: str = "",
    replaces_id: str = "",
) -> Batch:
    """Sum postings into a batch.

    Args:
        postings: Of one currency, in any order.
        business_date: The day the batch is dated.
        origin_date: The day its events are of; another than the business date where the
            period of that day is locked.
        entity: The unit of the books, two characters.
        currency: ISO 4217.
        number: Of ``next_number``.
        kind: ``primary``, ``adjustment`` or ``replacement``; a reversal is ``reversal``'s.
        policy_hash: Of the policy that decided.
        watermarks: The sources' high-water marks to be sealed with it, if any.
        books: Whose they are.
        description: What the batch is for, where that is not its day alone.
        replaces_id: Of a replacement: the batch it stands for.

    Raises:
        Unbalanced: When debits and credits differ, in the batch's currency or the merchant's.
        ValueError: When a posting is in another currency, its side is unknown or its
            amount is not above zero (a negative debit is a credit that hides).
    """
    grouped: dict[tuple[str, str, str, str], list[Posting]] = defaultdict(list)
    for posting in postings:
        if posting.currency != currency:
            msg = f"{posting.posting_key} is in {posting.currency}, the batch in {currency}"
            raise ValueError(msg)
        least = 0 if posting.base_minor else 1
        if posting.side not in _SIDE_RANK or posting.amount_minor < least:
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
            base_minor=_base(grouped[key]),
        )
        for place, key in enumerate(sorted(grouped, key=_line_order), start=1)
    )
    totals = _totals(lines)
    identity = batch_id(business_date, entity, currency, number)
    for debit, credit in (("debit", "credit"), ("base_debit", "base_credit")):
        if totals.get(debit) != totals.get(credit):
            msg = f"{identity}: {debit} {totals[debit]}, {credit} {totals[credit]}"
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
        books=books,
        description=description,
        replaces_id=replaces_id,
    )
    return replace(batch, hash=content_hash(batch))


def _base(postings: Sequence[Posting]) -> int | None:
    told = [posting.base_minor for posting in postings if posting.base_minor is not None]
    return sum(told) if told else None


def reversal(
    original: Batch, *, business_date: date, number: str, reason: str, policy_hash: str
) -> Batch:
    """The batch that takes another one back, line by line: the sides are swapped.

    Its lines keep number, role, account, tax key and units; its control totals are the
    original's with the sign turned, but for units, debit and credit.

    Args:
        original: As it was sealed.
        business_date: The day the reversal is dated.
        number: Of ``next_number``.
        reason: Why, in a few words; it stands in the description.
        policy_hash: Of the policy in force.
    """
    batch = replace(
        original,
        id=batch_id(business_date, original.entity, original.currency, number),
        business_date=business_date,
        kind="reversal",
        policy_hash=policy_hash,
        lines=tuple(replace(line, side=_OTHER[line.side]) for line in original.lines),
        totals={
            name: amount if name in _UNSIGNED else -amount
            for name, amount in original.totals.items()
        },
        description=f"reverses {original.id}: {reason}",
        reverses_id=original.id,
        replaces_id="",
        watermarks={},
    )
    return replace(batch, hash=content_hash(batch))


_OTHER = {"debit": "credit", "credit": "debit"}
_UNSIGNED = frozenset({"units", "debit", "credit", "base_debit", "base_credit"})


def _line_order(key: tuple[str, str, str, str]) -> tuple[int, int, str, str, Decimal, str]:
    role, account, tax, side = key
    rank = _RANK.get(role.partition(".")[0], len(_RANK))
    # As the accountant reads it: by account, debit before credit, the highest rate first.
    # The key itself last: no rate and the rate zero would else stand as they came.
    return (rank, _SIDE_RANK[side], account, role, -_per_cent(tax), tax)


def _per_cent(tax: str) -> Decimal:
    return Decimal(tax) if tax[:1].isdigit() else Decimal(0)


def _totals(lines: Sequence[BatchLine]) -> dict[str, int]:
    def total(role: str, side: str) -> int:
        return sum(
            line.amount_minor
            for line in lines
            if line.role.partition(".")[0] == role and line.side == side
        )

    vat = total("vat_output", "debit")
    discounts = total("discount_reversal", "credit")
    net = total("sales_returns", "debit") + total("shipping_refunded", "debit") - discounts
    totals = {
        "units": len({unit for line in lines for unit in line.unit_keys}),
        "gross": net + vat,
        "net": net,
        "vat": vat,
        "vat_on_fees": total("vat_output", "credit"),
        "fees": total("return_fee_income", "credit"),
        "shipping": total("shipping_refunded", "debit"),
        "store_credit": total("store_credit_liability", "credit"),
        "exchange": total("exchange_clearing", "credit") - total("exchange_clearing", "debit"),
        "refunds": total("refund_clearing", "credit"),
        "cost_restocked": total("inventory", "debit"),
        "debit": sum(line.amount_minor for line in lines if line.side == "debit"),
        "credit": sum(line.amount_minor for line in lines if line.side == "credit"),
    }
    if any(line.base_minor is not None for line in lines):
        for side in ("debit", "credit"):
            of_side = [line.base_minor or 0 for line in lines if line.side == side]
            totals[f"base_{side}"] = sum(of_side)
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
                **({} if line.base_minor is None else {"base_minor": line.base_minor}),
            }
            for line in batch.lines
        ],
        "legal_entity": batch.books.legal_entity,
        "channel_group": batch.books.channel_group,
        "base_currency": batch.books.base_currency,
        "description": batch.description,
        "reverses": batch.reverses_id,
        "replaces": batch.replaces_id,
        "totals": dict(batch.totals),
        "watermarks": dict(batch.watermarks),
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def from_bytes(body: bytes) -> Batch:
    """The batch behind its canonical bytes: what was sealed, to be read again.

    Raises:
        ValueError: When the bytes are no batch's.
    """
    try:
        told = json.loads(body)
        batch = Batch(
            id=told["id"],
            business_date=date.fromisoformat(told["business_date"]),
            origin_date=date.fromisoformat(told["origin_date"]),
            kind=told["kind"],
            entity=told["entity"],
            currency=told["currency"],
            policy_hash=told["policy_hash"],
            last_event_at=told["last_event_at"],
            lines=tuple(
                BatchLine(
                    number=line["number"],
                    role=line["role"],
                    account=line["account"],
                    tax_key=line["tax"],
                    side=line["side"],
                    amount_minor=line["amount_minor"],
                    unit_keys=tuple(line["units"]),
                    base_minor=line.get("base_minor"),
                )
                for line in told["lines"]
            ),
            totals=told["totals"],
            hash="",
            watermarks=told["watermarks"],
            # Batches sealed before these were told have none of them.
            books=Books(*(told.get(name, "") for name in _BOOKS)),
            description=told.get("description", ""),
            reverses_id=told.get("reverses", ""),
            replaces_id=told.get("replaces", ""),
        )
    except (KeyError, TypeError) as error:
        msg = f"these bytes are no batch's: {error}"
        raise ValueError(msg) from error
    return replace(batch, hash=hashlib.sha256(body).hexdigest())


_BOOKS = ("legal_entity", "channel_group", "base_currency")


def content_hash(batch: Batch) -> str:
    """SHA-256 of the batch's canonical bytes; the hash itself is no part of them."""
    return hashlib.sha256(canonical_bytes(batch)).hexdigest()
