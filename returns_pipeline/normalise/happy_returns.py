"""Happy Returns items as domain units (contract Happy Returns, ADAPTER.md).

Most field names and codes are not published: they come from the policy, and whatever is
not known there is reported, never guessed. Here: names, formats, personal data. Not here:
asking (``clients.happy_returns``), mapping dispositions (``domain.disposition``).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Any

import msgspec

from returns_pipeline.domain.model import Fact, Precision, RefundType, Stage, Unit
from returns_pipeline.domain.money import parse_amount_with_currency, parse_minor
from returns_pipeline.domain.policy import HappyReturnsPolicy, fold, order_key

_RAW = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY = msgspec.json.Decoder()
_ENCODER = msgspec.json.Encoder()

# Never stored: whatever is about the shopper, under whatever name.
_PERSONAL = (
    "email",
    "phone",
    "address1",
    "address2",
    "street",
    "postcode",
    "zip",
    "customer",
    "shopper",
    "firstname",
    "lastname",
    "fullname",
    "buyer",
    "comment",
    "note",
    "message",
    "image",
    "photo",
    "signature",
)
_NAMES = ("name", "address", "city")
_REQUIRED = ("return_id", "order_number")


def content_hash(raw: bytes) -> str:
    """The hash by which an unchanged item is recognised, over the bytes as received."""
    return hashlib.sha256(raw).hexdigest()


def _fields(raw: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _RAW.decode(raw)
    except msgspec.MsgspecError:
        return {}


@dataclass(frozen=True, slots=True)
class _Names:
    """The policy's field names, looked at once."""

    vendor: Mapping[str, str]
    known: frozenset[str]


@lru_cache(maxsize=8)
def _names(fields: tuple[tuple[str, str], ...]) -> _Names:
    return _Names(dict(fields), frozenset(name for _, name in fields))


def _names_of(fields: Mapping[str, str]) -> _Names:
    return _names(tuple(fields.items()))


def _personal(name: str) -> bool:
    folded = fold(name)
    return folded in _NAMES or any(part in folded for part in _PERSONAL)


# Known, read by nobody, harmless: they are kept and not reported.
_IGNORED = frozenset(
    "categoryID oneClickExchange location locationMetro country poNumber shippingBoxKind "
    "happyReturnsRetailerID happyReturnsRMAID retailerID".split()
)


def redact(raw: bytes, fields: Mapping[str, str]) -> tuple[bytes, list[str]]:
    """The item without personal data, and the names of the fields nobody knows.

    A field the policy names is kept. Of the others, personal ones and whole objects are
    dropped; plain values are kept, so that a new field can be looked at.
    """
    names = _names_of(fields)
    kept: dict[str, msgspec.Raw] = {}
    unknown = []
    for name, value in _fields(raw).items():
        if name in names.known:
            kept[name] = value
            continue
        if _personal(name):
            continue
        if name not in _IGNORED:
            unknown.append(name)
        if not bytes(value).lstrip().startswith((b"{", b"[")):
            kept[name] = value
    return _ENCODER.encode(kept), unknown


def unit_keys(raws: Sequence[bytes], policy: HappyReturnsPolicy) -> list[str]:
    """The key of each item of one answer.

    ``happyReturnsItemID`` where given, else return id, line id and a counter of the items
    that share both (contract section 6).
    """
    vendor = policy.fields
    seen: Counter[tuple[str, str]] = Counter()
    keys = []
    for raw in raws:
        found = _fields(raw)
        key = _text(found.get(vendor.get("item_id", "")))
        if not key:
            return_id = _text(found.get(vendor["return_id"])) or content_hash(raw)[:16]
            line = _text(found.get(vendor["line_item_id"]))
            seen[return_id, line] += 1
            key = f"{return_id}/{line}#{seen[return_id, line]}"
        keys.append(key)
    return keys


def return_codes(
    bodies: Mapping[str, bytes], policy: HappyReturnsPolicy
) -> dict[str, tuple[str, str]]:
    """The RMA code and the merchant's own RMA of each item, by unit key."""
    express, own = policy.fields["express_code"], policy.fields["merchant_rma"]
    codes = {}
    for key, body in bodies.items():
        found = _fields(body)
        codes[key] = (_text(found.get(express)), _text(found.get(own)))
    return codes


def _value(raw: msgspec.Raw | None) -> Any:  # noqa: ANN401
    if raw is None:
        return None
    try:
        return _ANY.decode(raw)
    except msgspec.MsgspecError:
        return None


def _text(raw: msgspec.Raw | None) -> str:
    value = _value(raw)
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


@dataclass(slots=True)
class _Reader:
    """Reads one item's fields and notes what could not be read."""

    values: Mapping[str, Any]
    names: Mapping[str, str]
    problems: list[str] = field(default_factory=list)

    def get(self, ours: str) -> Any:  # noqa: ANN401
        value = self.values.get(self.names.get(ours, ""))
        return None if value == "" else value

    def text(self, ours: str) -> str:
        value = self.get(ours)
        if value is None:
            return ""
        if isinstance(value, str):
            return value.strip()
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        self.problems.append(f"{ours}:not a text")
        return ""

    def flag(self, ours: str) -> bool:
        value = self.get(ours)
        if value is None or isinstance(value, bool):
            return bool(value)
        if isinstance(value, str) and value.casefold() in {"true", "false"}:
            return value.casefold() == "true"
        self.problems.append(f"{ours}:not true or false")
        return False

    def count(self, ours: str) -> int:
        value = self.get(ours)
        if value is None:
            return 0
        if isinstance(value, str) and value.isdigit() and len(value) < 7:  # noqa: PLR2004
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1_000_000:  # noqa: PLR2004
            return value
        self.problems.append(f"{ours}:not a whole number")
        return 0

    def amount(self, ours: str, currency: str) -> int | None:
        value = self.get(ours)
        if value is None:
            return None
        try:
            minor = parse_minor(value, currency) if isinstance(value, str) else None
        except ValueError:
            minor = None
        if minor is None or minor < 0:
            self.problems.append(f"{ours}:not a decimal amount of {currency}")
            return None
        return minor

    def fee(self, ours: str) -> tuple[int | None, str | None]:
        value = self.get(ours)
        if value is None:
            return None, None
        try:
            minor, currency = parse_amount_with_currency(value)
        except (ValueError, AttributeError):
            minor, currency = -1, ""
        if minor < 0:
            self.problems.append(f"{ours}:not an amount and a currency")
            return None, None
        return minor, currency

    def instant(self, ours: str) -> datetime | None:
        value = self.get(ours)
        if value is None:
            return None
        at = _parse_instant(value)
        if at is None:
            self.problems.append(f"{ours}:not an instant")
            return None
        if at.tzinfo is None:
            self.problems.append(f"{ours}:CLOCK_AMBIGUOUS an instant without its offset")
            return None
        return at.astimezone(UTC)

    def day(self, ours: str) -> datetime | None:
        value = self.get(ours)
        if value is None:
            return None
        try:
            day = date.fromisoformat(value)
        except (ValueError, TypeError):
            self.problems.append(f"{ours}:not a date")
            return None
        return datetime.combine(day, time(), tzinfo=UTC)


@lru_cache(maxsize=65536)
def _parse_text(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _parse_instant(value: object) -> datetime | None:
    if not isinstance(value, str) or len(value) < 11:  # noqa: PLR2004 (a bare date is no instant)
        return None
    return _parse_text(value)


_FACTS = ("started", "dropped_off", "approved", "departed", "received", "expired", "cancelled")
_DATES = {"started": "started_date", "approved": "approved_date", "departed": "departure_date"}


def units(  # noqa: PLR0913
    raws: Sequence[bytes],
    *,
    keys: Sequence[str],
    hashes: Sequence[str],
    source: str,
    policy: HappyReturnsPolicy,
    default_currency: str,
    observed_at: datetime,
) -> list[Unit]:
    """The units of many items read at one time.

    Args:
        raws: The items, redacted or not.
        keys: Their unit keys.
        hashes: Their content hashes.
        source: ``return`` (look-up, webhook) or ``outbound``.
        policy: Names and codes.
        default_currency: Of amounts that name none.
        observed_at: When they were read.
    """
    names = policy.fields
    rank = 0 if source == "outbound" else 1
    return [
        _unit(_object(raw), key, digest, names, policy, default_currency, observed_at, rank)
        for raw, key, digest in zip(raws, keys, hashes, strict=True)
    ]


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        value = _ANY.decode(raw)
    except msgspec.MsgspecError:
        return {}
    return value if isinstance(value, dict) else {}


def _unit(  # noqa: PLR0913, PLR0917
    values: Mapping[str, Any],
    key: str,
    digest: str,
    names: Mapping[str, str],
    policy: HappyReturnsPolicy,
    default_currency: str,
    observed_at: datetime,
    rank: int,
) -> Unit:
    read = _Reader(values, names)
    for required in _REQUIRED:
        if read.get(required) is None:
            read.problems.append(f"{required}:missing")
    updated = read.instant("updated_at")
    status = read.text("status")
    facts = _facts(read, status, policy, updated or observed_at)
    currency = read.text("currency").upper() or None
    amounts_in = currency or default_currency
    fee, fee_currency = read.fee("return_fee")
    number = read.text("order_number")
    disposition = read.text("disposition") or read.text("inspection_outcome")
    return Unit(
        unit_key=key,
        return_id=read.text("return_id"),
        order_number=number,
        order_key=order_key(number),
        line_item_id=read.text("line_item_id"),
        sku=read.text("sku"),
        **facts,
        status=status,
        dropoff_method=read.text("dropoff_method"),
        disposition_code=disposition,
        disposition_at=(updated or observed_at) if disposition else None,
        refund_type=_refund_type(read, policy, rank),
        refund_amount_minor=read.amount("refund_amount", amounts_in),
        shipping_refund_minor=read.amount("shipping_refund_amount", amounts_in),
        fee_minor=fee,
        fee_currency=fee_currency,
        currency=currency,
        returnless=read.flag("returnless"),
        exchange_sku=read.text("exchange_sku"),
        exchange_quantity=read.count("exchange_quantity"),
        exchange_unit_price_minor=read.amount("exchange_unit_price", amounts_in),
        reason_code=read.text("reason_id") or "",
        updated_at=updated or observed_at,
        source_rank=rank,
        payload_hash=digest,
        problems=tuple(read.problems),
    )


def _refund_type(
    read: _Reader, policy: HappyReturnsPolicy, rank: int
) -> RefundType | None:
    code = read.text("refund_type")
    if not code:
        # The outbound feed is partial: what it does not say is not known, not "refund".
        return RefundType.REFUND if rank else None
    kind = policy.refund_types.get(fold(code))
    if kind is None:
        read.problems.append(f"refund_type:unknown code {code[:40]!r}")
    return kind


def _facts(
    read: _Reader, status: str, policy: HappyReturnsPolicy, told_at: datetime
) -> dict[str, Fact]:
    facts: dict[str, Fact] = {}
    for name in _FACTS:
        at = read.instant(f"{name}_at")
        if at is not None:
            facts[name] = Fact(at, Precision.EXACT)
        elif name in _DATES:
            day = read.day(_DATES[name])
            if day is not None:
                facts[name] = Fact(day, Precision.DATE)
    if status:
        stage = policy.statuses.get(fold(status))
        if stage is None:
            read.problems.append(f"status:unknown code {status[:40]!r}")
        elif stage.value not in facts:
            # The status says it happened; when, is the last change at the latest.
            facts[stage.value] = Fact(told_at, Precision.INFERRED)
    return facts
