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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from operator import attrgetter
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


# What decoding raises when the bytes are no JSON, no UTF-8, or nested without end.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def _fields(raw: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _RAW.decode(raw)
    except _UNREADABLE:
        return {}


# --- personal data ----------------------------------------------------------------

# Never stored: whatever is about the shopper, under whatever name. Parts of folded names,
# so that ``customer_first_name`` and ``shippingAddressLine2`` are covered. Only names
# that the policy does not know are looked at: ``productName`` stays.
_PERSONAL = (
    *("mail", "phone", "mobile", "tel", "fax", "name", "address", "street", "city", "town"),
    *("postcode", "postal", "zip", "customer", "shopper", "buyer", "consumer", "client"),
    *("recipient", "sender", "contact", "person", "user", "owner", "guest", "account"),
    *("birth", "gender", "latitude", "longitude", "passport", "iban", "card", "social"),
    *("comment", "note", "message", "feedback", "remark", "text", "memo", "description"),
    *("image", "photo", "picture", "video", "attachment", "signature", "qrcode"),
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
# What a value under a name nobody knows may look like to be kept: a code, a number, an
# instant, an amount with its currency. Anything else may be words about the shopper.
_CODE = re.compile(rb'"[\w.:+/#-]{0,64}( [A-Z]{3})?"|[\w.+-]{1,32}')
_NAME = re.compile(r"[A-Za-z][\w.$-]{0,63}", re.ASCII)
_E_MAIL = re.compile(r"[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What becomes of the fields of items that have the same names."""

    kept: tuple[str, ...]
    doubtful: tuple[str, ...]  # kept where the value is a code
    unknown: tuple[str, ...]  # as they may be told


@lru_cache(maxsize=1024)
def _plan(names: tuple[str, ...], known: tuple[str, ...]) -> _Plan:
    kept, doubtful, unknown = [], [], []
    for name in names:
        if name in known:
            kept.append(name)
        elif not _NAME.fullmatch(name):
            # It may be anything, the shopper's own name included: an object keyed by it.
            unknown.append("(a name that is no identifier)")
        elif not _is_personal(name):
            doubtful.append(name)
            if name not in _IGNORED:
                unknown.append(name)
    return _Plan(tuple(kept), tuple(doubtful), tuple(dict.fromkeys(unknown)))


def _is_personal(name: str) -> bool:
    folded = fold(name)
    return any(part in folded for part in _PERSONAL)


def redact(raw: bytes, fields: Mapping[str, str]) -> tuple[bytes, list[str]]:
    """The item without personal data, and the names of the fields nobody knows.

    A field the policy names is kept, without objects inside it and without e-mail
    addresses in it. Of the others, personal ones, objects, arrays and words are dropped;
    codes, numbers and instants are kept, so that a new field can be looked at. The
    result is canonical JSON: names in order, each once. What is no JSON object gives
    ``{}``.

    Args:
        raw: The item as received.
        fields: Our name to the vendor's (policy).
    """
    found = _fields(raw)
    plan = _plan(tuple(found), tuple(fields.values()))
    kept = {name: found[name] for name in plan.kept}
    for name in plan.doubtful:
        if _CODE.fullmatch(bytes(found[name])):
            kept[name] = found[name]
    encoded = _CANONICAL.encode(kept)
    if not _is_plain(encoded):
        # Seldom: value by value, and what cannot be decoded is not kept.
        clean = {name: _without_personal(_decoded(value)) for name, value in kept.items()}
        encoded = _CANONICAL.encode(clean)
    return encoded, list(plan.unknown)


def _is_plain(encoded: bytes) -> bool:
    """Whether nothing stands in it that may be an object, a nested array or an address."""
    if b"@" in encoded or encoded.count(b"{") > 1:
        return False
    if b"\\" in encoded:  # it may spell "@" as \\u0040
        return False
    if encoded.count(b"[") != encoded.count(b'":['):  # an array that is a value follows a name
        return False
    if encoded.isascii():
        return True
    try:
        encoded.decode()
    except UnicodeDecodeError:
        return False  # values are not decoded on the way here
    return True


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
    except _UNREADABLE:
        return None


# --- keys -------------------------------------------------------------------------


def unit_keys(raws: Sequence[bytes], policy: HappyReturnsPolicy) -> list[str]:
    """The key of each item of one answer, all its pages together.

    ``happyReturnsItemID`` where given, else return id, line id and a counter of the items
    that share both: unsuffixed line ids may repeat (contract section 6, grade C).
    """
    shape = _shape(tuple(policy.fields.items()), ("item_id", "return_id", "line_item_id"))
    seen: Counter[tuple[str, str]] = Counter()
    keys = []
    for raw in raws:
        found = shape.read(raw, [])
        key = _text(found.item_id, "", [])
        if not key:
            return_id = _text(found.return_id, "", []) or content_hash(raw)[:16]
            line = _text(found.line_item_id, "", [])
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

    decoder: msgspec.json.Decoder[Any]
    empty: Callable[[], Any]
    names: tuple[tuple[str, str], ...]  # ours, the vendor's

    def read(self, raw: bytes, problems: list[str]) -> Any:
        """The item's fields; those that cannot be read are ``None`` and a problem."""
        try:
            return self.decoder.decode(raw)
        except _UNREADABLE:
            return self._piecemeal(raw, problems)

    def _piecemeal(self, raw: bytes, problems: list[str]) -> Any:
        item, found = self.empty(), _fields(raw)
        if not found:
            problems.append("payload:not an object")
        for ours, vendor in self.names:
            if vendor in found:
                value = _decoded(found[vendor])
                setattr(item, ours, value)
                if value is None and bytes(found[vendor]) != b"null":
                    problems.append(f"{ours}:unreadable")
        return item


@lru_cache(maxsize=8)
def _shape(fields: tuple[tuple[str, str], ...], read: tuple[str, ...]) -> _Shape:
    names = dict(fields)
    readers: dict[str, str] = {}  # the vendor's name -> the first of ours that reads it
    others: dict[str, Any] = {}
    for ours in read:
        vendor = names.get(ours)
        if vendor is None:
            others[ours] = None
        elif vendor in readers:
            others[ours] = property(attrgetter(readers[vendor]))
        else:
            readers[vendor] = ours
    struct = msgspec.defstruct(
        "Item",
        [(ours, Any, None) for ours in readers.values()],
        rename={ours: vendor for vendor, ours in readers.items()},
        namespace=others,
        gc=False,
    )
    vendors = tuple((ours, vendor) for vendor, ours in readers.items())
    return _Shape(msgspec.json.Decoder(struct), struct, vendors)


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
    shape = _shape(tuple(policy.fields.items()), _READ)
    rank = 0 if source == "outbound" else 1
    found = []
    for raw, key, digest in zip(raws, keys, hashes, strict=True):
        problems: list[str] = []
        item = shape.read(raw, problems)
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
        told = policy.statuses.get(_folded(status))
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
    kind = policy.refund_types.get(_folded(code))
    if kind is None:
        problems.append(f"refund_type:unknown code {_short(code)}")
    return kind


_folded = lru_cache(maxsize=4096)(fold)  # codes are few


# --- values -----------------------------------------------------------------------
# Each takes the value, our name for its field and the list of problems; "" and null are
# the same as absent.

_LONGEST_DIGITS = 10**40
_LONGEST_AMOUNT = 32
_minor = lru_cache(maxsize=4096)(parse_minor)  # prices repeat


def _text(value: object, ours: str, problems: list[str]) -> str:
    if isinstance(value, str):
        if len(value) <= _LONGEST_TEXT:
            return value.strip() if value.isprintable() else _printable(value).strip()
        problems.append(f"{ours}:longer than {_LONGEST_TEXT} characters")
    elif type(value) is int and abs(value) < _LONGEST_DIGITS:
        return str(value)
    elif value is not None:
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
    if isinstance(text, str) and len(text) <= _LONGEST_AMOUNT:
        try:
            minor = _minor(text, currency)
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
    if isinstance(value, str) and len(value) <= _LONGEST_AMOUNT:
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
        if at.tzinfo is UTC:
            return at
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        problems.append(f"{ours}:not an instant")
        return None
    problems.append(f"{ours}:CLOCK_AMBIGUOUS an instant without its offset")
    return None


# A bare date or a week number is no instant.
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}")


@lru_cache(maxsize=1024)  # many items share few days
def _midnight(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time(), tzinfo=UTC)


def _day(value: object, ours: str, problems: list[str]) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str):
            return _midnight(value.strip())
    except ValueError:
        pass
    problems.append(f"{ours}:not a date")
    return None
