"""Happy Returns items as domain units: names, formats, personal data.

Most field names and codes are not published: they come from the policy, and whatever is
not known there is reported, never guessed (contracts/happy_returns/ADAPTER.md, grades
there). Nothing here raises on a payload: what cannot be read leaves its field empty and
stands in the unit's ``problems``. Not here: asking (``clients.happy_returns``), what a
stage opens (``domain.gate``), mapping dispositions (``domain.disposition``).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Any

import msgspec

from returns_pipeline.domain.model import Fact, Precision, RefundType, Unit
from returns_pipeline.domain.money import parse_amount_with_currency, parse_minor
from returns_pipeline.domain.policy import HappyReturnsPolicy, fold, order_key

_RAW = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY = msgspec.json.Decoder()
_CANONICAL = msgspec.json.Encoder(order="sorted")

_LONGEST_TEXT = 255  # a key of ours must fit a database index
_LONGEST_NAME = 64


def content_hash(raw: bytes) -> str:
    """The hash by which an unchanged item is recognised, over the bytes as received."""
    return hashlib.sha256(raw).hexdigest()


def _fields(raw: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _RAW.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return {}


# --- personal data ----------------------------------------------------------------

# Never stored: whatever is about the shopper, under whatever name. Parts of folded names,
# so that ``customer_first_name`` and ``shippingAddressLine2`` are covered. Only names
# that the policy does not know are looked at: ``productName`` stays.
_PERSONAL = (
    *("mail", "phone", "mobile", "name", "address", "street", "city", "postcode", "postal"),
    *("zip", "customer", "shopper", "buyer", "consumer", "recipient", "sender", "contact"),
    *("birth", "gender", "latitude", "longitude", "comment", "note", "message", "feedback"),
    *("remark", "image", "photo", "picture", "video", "attachment", "signature", "qrcode"),
)
# Published or seen, read by nobody here, and harmless: kept and not reported.
_IGNORED = frozenset(
    [
        "categoryID",
        "oneClickExchange",
        "location",
        "locationMetro",
        "country",
        "poNumber",
        "shippingBoxKind",
        "happyReturnsRetailerID",
        "happyReturnsRMAID",
        "retailerID",
    ]
)
# An object, an array in an array, an address; a backslash may spell "@" as \u0040.
_SUSPICIOUS = re.compile(rb"[{@\\]|(?<=.)\[", re.DOTALL)
_E_MAIL = re.compile(r"[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+")


@lru_cache(maxsize=4096)
def _is_personal(name: str) -> bool:
    folded = fold(name)
    return any(part in folded for part in _PERSONAL)


@lru_cache(maxsize=8)
def _known(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(names)


def redact(raw: bytes, fields: Mapping[str, str]) -> tuple[bytes, list[str]]:
    """The item without personal data, and the names of the fields nobody knows.

    A field the policy names is kept, without objects inside it and without e-mail
    addresses in it. Of the others, personal ones and whole objects are dropped; plain
    values are kept, so that a new field can be looked at. The result is canonical JSON:
    names in order, each once.

    Args:
        raw: The item as received.
        fields: Our name to the vendor's (policy).
    """
    known = _known(tuple(fields.values()))
    kept: dict[str, msgspec.Raw] = {}
    unknown = []
    for name, value in _fields(raw).items():
        if name in known:
            kept[name] = _plain(value)
            continue
        if _is_personal(name):
            continue
        if name not in _IGNORED:
            unknown.append(_E_MAIL.sub("***", _printable(name))[:_LONGEST_NAME])
        content = bytes(value)
        if not content.startswith((b"{", b"[")) and _plain(value) is value:
            kept[name] = value
    return _CANONICAL.encode(kept), unknown


def _plain(value: msgspec.Raw) -> msgspec.Raw:
    """The value itself, or what is left of it without objects and e-mail addresses."""
    content = bytes(value)
    if not _SUSPICIOUS.search(content):
        return value
    clean = _without_personal(_decoded(value))
    encoded = _CANONICAL.encode(clean)
    return value if clean == _decoded(value) else msgspec.Raw(encoded)


def _without_personal(value: object) -> object:
    match value:
        case str():
            return _E_MAIL.sub("***", value)
        case list():
            plain = [one for one in value if not isinstance(one, dict | list)]
            return [_without_personal(one) for one in plain]
        case dict():
            return {}
        case _:
            return value


def _decoded(value: msgspec.Raw | bytes) -> Any:
    try:
        return _ANY.decode(value)
    except (msgspec.MsgspecError, RecursionError):
        return None


# --- keys -------------------------------------------------------------------------


def unit_keys(raws: Sequence[bytes], policy: HappyReturnsPolicy) -> list[str]:
    """The key of each item of one answer, all its pages together.

    ``happyReturnsItemID`` where given, else return id, line id and a counter of the items
    that share both: unsuffixed line ids may repeat (contract section 6, grade C).
    """
    names = policy.fields
    seen: Counter[tuple[str, str]] = Counter()
    keys = []
    for raw in raws:
        found = _fields(raw)
        key = _key_text(found.get(names.get("item_id", "")))
        if not key:
            return_id = _key_text(found.get(names.get("return_id", "")))
            return_id = return_id or content_hash(raw)[:16]
            line = _key_text(found.get(names.get("line_item_id", "")))
            seen[return_id, line] += 1
            key = f"{return_id}/{line}#{seen[return_id, line]}"
        keys.append(key)
    return keys


def return_codes(
    bodies: Mapping[str, bytes], policy: HappyReturnsPolicy
) -> dict[str, tuple[str, str]]:
    """The RMA code and the merchant's own RMA of each item, by unit key."""
    express = policy.fields.get("express_code", "")
    own = policy.fields.get("merchant_rma", "")
    codes = {}
    for key, body in bodies.items():
        found = _fields(body)
        codes[key] = (_key_text(found.get(express)), _key_text(found.get(own)))
    return codes


def _key_text(value: msgspec.Raw | None) -> str:
    return "" if value is None else _text(_decoded(value), "", [])


# --- units ------------------------------------------------------------------------

_TEXTS = (
    *("return_id", "order_number", "line_item_id", "sku", "status", "dropoff_method"),
    *("disposition", "inspection_outcome", "refund_type", "currency", "exchange_sku"),
    "reason_id",
)
_STAGES = (*("started", "dropped_off", "approved", "departed", "received", "expired", "cancelled"),)
# The outbound feed tells these as dates (section 3.2, grade B).
_DATES = {"started": "started_date", "approved": "approved_date", "departed": "departure_date"}
_READ = (
    *_TEXTS,
    *(f"{stage}_at" for stage in _STAGES),
    *_DATES.values(),
    *("updated_at", "refund_amount", "shipping_refund_amount", "return_fee", "returnless"),
    *("exchange_quantity", "exchange_unit_price"),
)


@dataclass(frozen=True, slots=True)
class _Shape:
    """A struct of the fields that are read, under the vendor's names, of any type.

    What is not read is skipped undecoded; a wrong type is a problem of its field, not
    of the item.
    """

    decode: Any
    empty: Any
    shared: tuple[tuple[str, str], ...]  # ours -> the one that reads the same name


@lru_cache(maxsize=8)
def _shape(fields: tuple[tuple[str, str], ...]) -> _Shape:
    names = dict(fields)
    readers: dict[str, str] = {}
    shared = []
    for ours in _READ:
        vendor = names.get(ours)
        if vendor is None:
            continue
        if vendor in readers:
            shared.append((ours, readers[vendor]))
        else:
            readers[vendor] = ours
    rename = {ours: vendor for vendor, ours in readers.items()}
    unread = {ours: f"\0{ours}" for ours in _READ if ours not in rename}
    struct = msgspec.defstruct(
        "Item", [(ours, Any, None) for ours in _READ], rename={**rename, **unread}
    )
    return _Shape(msgspec.json.Decoder(struct).decode, struct, tuple(shared))


def units(
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
    shape = _shape(tuple(policy.fields.items()))
    rank = 0 if source == "outbound" else 1
    found = []
    for raw, key, digest in zip(raws, keys, hashes, strict=True):
        problems: list[str] = []
        try:
            item = shape.decode(raw)
        except (msgspec.MsgspecError, RecursionError):
            item = shape.empty()
            problems.append("payload:not an object")
        for ours, reader in shape.shared:
            setattr(item, ours, getattr(item, reader))
        found.append(
            _unit(item, problems, key, digest, policy, default_currency, observed_at, rank)
        )
    return found


def _unit(
    item: Any,
    problems: list[str],
    key: str,
    digest: str,
    policy: HappyReturnsPolicy,
    default_currency: str,
    observed_at: datetime,
    rank: int,
) -> Unit:
    number = _text(item.order_number, "order_number", problems)
    return_id = _text(item.return_id, "return_id", problems)
    if not return_id:
        problems.append("return_id:missing")
    if not number:
        problems.append("order_number:missing")
    updated = _instant(item.updated_at, "updated_at", problems)
    told_at = updated or observed_at
    status = _text(item.status, "status", problems)
    facts = _facts(item, status, policy, told_at, problems)
    currency = _text(item.currency, "currency", problems).upper()
    money = currency or default_currency
    fee, fee_currency = _fee(item.return_fee, problems)
    disposition = _text(item.disposition, "disposition", problems) or _text(
        item.inspection_outcome, "inspection_outcome", problems
    )
    return Unit(
        unit_key=key,
        return_id=return_id,
        order_number=number,
        order_key=order_key(number),
        line_item_id=_text(item.line_item_id, "line_item_id", problems),
        sku=_text(item.sku, "sku", problems),
        started=facts.get("started"),
        dropped_off=facts.get("dropped_off"),
        approved=facts.get("approved"),
        departed=facts.get("departed"),
        received=facts.get("received"),
        expired=facts.get("expired"),
        cancelled=facts.get("cancelled"),
        status=status,
        dropoff_method=_text(item.dropoff_method, "dropoff_method", problems),
        disposition_code=disposition,
        disposition_at=told_at if disposition else None,
        refund_type=_refund_type(item.refund_type, policy, rank, problems),
        refund_amount_minor=_amount(item.refund_amount, "refund_amount", money, problems),
        shipping_refund_minor=_amount(
            item.shipping_refund_amount, "shipping_refund_amount", money, problems
        ),
        fee_minor=fee,
        fee_currency=fee_currency,
        currency=currency or None,
        returnless=_flag(item.returnless, "returnless", problems),
        exchange_sku=_text(item.exchange_sku, "exchange_sku", problems),
        exchange_quantity=_count(item.exchange_quantity, "exchange_quantity", problems),
        exchange_unit_price_minor=_amount(
            item.exchange_unit_price, "exchange_unit_price", money, problems
        ),
        reason_code=_text(item.reason_id, "reason_id", problems),
        updated_at=told_at,
        source_rank=rank,
        payload_hash=digest,
        problems=tuple(problems),
    )


def _facts(
    item: Any,
    status: str,
    policy: HappyReturnsPolicy,
    told_at: datetime,
    problems: list[str],
) -> dict[str, Fact]:
    facts: dict[str, Fact] = {}
    for stage, field in _STAGE_FIELDS:
        value = getattr(item, field)
        if value is not None:
            at = _instant(value, field, problems)
            if at is not None:
                facts[stage] = Fact(at, Precision.EXACT)
    for stage, field in _DATES.items():
        value = getattr(item, field)
        if value is not None and stage not in facts:
            day = _day(value, field, problems)
            if day is not None:
                facts[stage] = Fact(day, Precision.DATE)
    if status:
        told = policy.statuses.get(fold(status))
        if told is None:
            problems.append(f"status:unknown code {_short(status)}")
        elif told.value not in facts:
            # The status says that it happened; when: at its last change at the latest.
            facts[told.value] = Fact(told_at, Precision.INFERRED)
    return facts


_STAGE_FIELDS = tuple((stage, f"{stage}_at") for stage in _STAGES)


def _refund_type(
    value: object, policy: HappyReturnsPolicy, rank: int, problems: list[str]
) -> RefundType | None:
    code = _text(value, "refund_type", problems)
    if not code:
        # The outbound feed is partial: what it does not say is not known, not "refund".
        # What could not be read is no more known.
        unsaid = value is None or value == ""
        return RefundType.REFUND if rank and unsaid else None
    kind = policy.refund_types.get(fold(code))
    if kind is None:
        problems.append(f"refund_type:unknown code {_short(code)}")
    return kind


# --- values -----------------------------------------------------------------------
# Each takes the value, our name for its field and the list of problems; "" and null are
# the same as absent.

_LONGEST_DIGITS = 10**40


def _text(value: object, ours: str, problems: list[str]) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        if len(value) <= _LONGEST_TEXT:
            return value.strip() if value.isprintable() else _printable(value).strip()
        problems.append(f"{ours}:longer than {_LONGEST_TEXT} characters")
    elif type(value) is int and abs(value) < _LONGEST_DIGITS:
        return str(value)
    else:
        problems.append(f"{ours}:not a text")
    return ""


def _printable(text: str) -> str:
    # NUL cannot be stored by PostgreSQL; line breaks forge log lines.
    return "".join(c if c.isprintable() else " " for c in text)


def _short(code: str) -> str:
    return repr(_E_MAIL.sub("***", code)[:40])


def _flag(value: object, ours: str, problems: list[str]) -> bool:
    if value is None or value == "":
        return False
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.casefold() in {"true", "false"}:
        return value.casefold() == "true"
    problems.append(f"{ours}:not true or false")
    return False


def _count(value: object, ours: str, problems: list[str]) -> int:
    if value is None or value == "":
        return 0
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,6}", value):
        return int(value)
    if type(value) is int and 0 <= value < 1_000_000:
        return value
    problems.append(f"{ours}:not a whole number")
    return 0


def _amount(value: object, ours: str, currency: str, problems: list[str]) -> int | None:
    if value is None or value == "":
        return None
    # The published form is a text; a JSON number says the same by its digits.
    text = repr(value) if type(value) in {int, float} else value
    minor = -1
    if isinstance(text, str):
        try:
            minor = parse_minor(text, currency)
        except ValueError:
            minor = -1
    if minor < 0:
        problems.append(f"{ours}:not a decimal amount of {_short(currency)}")
        return None
    return minor


def _fee(value: object, problems: list[str]) -> tuple[int | None, str | None]:
    if value is None or value == "":
        return None, None
    minor, currency = -1, ""
    if isinstance(value, str):
        try:
            minor, currency = parse_amount_with_currency(value)
        except ValueError:
            minor = -1
    if minor < 0:
        problems.append("return_fee:not an amount and a currency")
        return None, None
    return minor, currency


def _instant(value: object, ours: str, problems: list[str]) -> datetime | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _INSTANT.match(value):
        problems.append(f"{ours}:not an instant")
        return None
    try:
        at = datetime.fromisoformat(value)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        problems.append(f"{ours}:not an instant")
        return None
    problems.append(f"{ours}:CLOCK_AMBIGUOUS an instant without its offset")
    return None


# A bare date or a week number is no instant.
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}")


def _day(value: object, ours: str, problems: list[str]) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str):
            day = date.fromisoformat(value.strip())
            return datetime.combine(day, time(), tzinfo=UTC)
    except ValueError:
        pass
    problems.append(f"{ours}:not a date")
    return None
