"""Happy Returns items as domain units: names, formats.

Most field names and codes are not published: they come from the policy, and whatever is
not known there is reported, never guessed (contracts/happy_returns/ADAPTER.md, grades
there). Nothing here raises on a payload: what cannot be read leaves its field empty and
stands in the unit's ``problems``. Not here: asking (``clients.happy_returns``), personal
data (``redaction``), what a stage opens (``domain.gate``), mapping dispositions
(``domain.disposition``).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time
from functools import lru_cache
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from returns_pipeline.domain.disposition import told_by_two
from returns_pipeline.domain.model import Fact, Precision, RefundType, Unit
from returns_pipeline.domain.money import parse_amount_with_currency, parse_minor
from returns_pipeline.domain.policy import HappyReturnsPolicy, fold, order_key
from returns_pipeline.normalise.redaction import E_MAIL, UNREADABLE, decoded, fields_of

T = TypeVar("T")

_LONGEST_TEXT = 255  # a key of ours must fit a database index


def content_hash(raw: bytes) -> str:
    """The hash by which an unchanged item is recognised, over the bytes as received."""
    return hashlib.sha256(raw).hexdigest()


# --- keys -------------------------------------------------------------------------


def unit_keys(raws: Sequence[bytes], policy: HappyReturnsPolicy) -> list[str]:
    """The key of each item of one answer, all its pages together.

    ``happyReturnsItemID`` where given, else return id, line id and a counter of the items
    that share both: unsuffixed line ids may repeat (contract section 6, grade C).
    """
    shape = _shape(tuple(policy.fields.items()), ("item_id", "return_id", "line_item_id"))
    unsaid: list[list[str]] = [[] for _ in raws]  # what is wrong with a key is told of its unit
    items = shape.read_all(raws, unsaid)
    keys = _texts([item.item_id for item in items], "", unsaid)
    if all(keys):
        return keys
    seen: Counter[tuple[str, str]] = Counter()
    for place, (raw, found) in enumerate(zip(raws, items, strict=True)):
        if not keys[place]:
            return_id = _text(found.return_id, "", []) or content_hash(raw)[:16]
            line = _text(found.line_item_id, "", [])
            seen[return_id, line] += 1
            keys[place] = f"{return_id}/{line}#{seen[return_id, line]}"
    return keys


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
    *("exchange_quantity", "exchange_unit_price", "express_code", "merchant_rma"),
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

    def read_all(self, raws: Sequence[bytes | str], problems: list[list[str]]) -> list[Any]:
        """The fields of each item; those that cannot be read are ``None`` and a problem."""
        try:
            return list(map(self.decoder.decode, raws))
        except UNREADABLE:  # one of them
            return [self._read(raw, own) for raw, own in zip(raws, problems, strict=True)]

    def _read(self, raw: bytes | str, problems: list[str]) -> Any:
        try:
            return self.decoder.decode(raw)
        except UNREADABLE:
            return self._piecemeal(raw, problems)

    def _piecemeal(self, raw: bytes | str, problems: list[str]) -> Any:
        item, found = self.empty(), fields_of(raw)
        if not found:
            problems.append("payload:not an object")
        for ours, vendor in self.names:
            if vendor in found:
                value = decoded(found[vendor])
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


def readings(
    raws: Sequence[bytes | str],
    *,
    keys: Sequence[str],
    hashes: Sequence[str],
    source: str,
    policy: HappyReturnsPolicy,
    default_currency: str,
    observed_at: datetime,
) -> dict[str, list[Any]]:
    """Many items read at one time, a column a field: what a backfill is written from.

    The columns have the names of ``Unit``'s fields, but a fact is its instant
    (``received_at``) and a letter of ``precisions``, in the order of the facts in ``Unit``.
    ``express_code`` and ``merchant_rma`` belong to the return.

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
    problems: list[list[str]] = [[] for _ in raws]
    items = shape.read_all(raws, problems)
    rank = 0 if source == "outbound" else 1

    def given(ours: str) -> list[Any]:
        return list(map(attrgetter(ours), items))

    def texts(ours: str) -> list[str]:
        return _texts(given(ours), ours, problems)

    def amounts(ours: str) -> list[int | None]:
        return _column(_amount, given(ours), ours, problems, currencies)

    # What goes wrong is noted in this order.
    found: dict[str, list[Any]] = {"unit_key": list(keys), "payload_hash": list(hashes)}
    numbers = found["order_number"] = texts("order_number")
    return_ids = found["return_id"] = texts("return_id")
    if not (all(return_ids) and all(numbers)):
        for own, return_id, number in zip(problems, return_ids, numbers, strict=True):
            if not return_id:
                own.append("return_id:missing")
            if not number:
                own.append("order_number:missing")
    keys_of = {number: order_key(number) for number in set(numbers)}
    found["order_key"] = [keys_of[number] for number in numbers]
    updated = _column(_instant, given("updated_at"), "updated_at", problems)
    told_at = found["updated_at"] = [at or observed_at for at in updated]
    found["status"] = texts("status")
    found.update(_facts(given, found["status"], policy, told_at, problems))
    told = list(map(str.upper, texts("currency")))
    found["currency"] = [currency or None for currency in told]
    currencies = [currency or default_currency for currency in told]
    fees = _column(_fee, given("return_fee"), "return_fee", problems)
    found["fee_minor"] = [fee and fee[0] for fee in fees]
    found["fee_currency"] = [fee and fee[1] for fee in fees]
    codes = texts("disposition")
    codes = found["disposition_code"] = _inspected(codes, given("inspection_outcome"), problems)
    found["disposition_at"] = [
        at if code else None for code, at in zip(codes, told_at, strict=True)
    ]
    for ours in ("line_item_id", "sku", "dropoff_method"):
        found[ours] = texts(ours)
    found["refund_type"] = _refund_types(given("refund_type"), policy, rank, problems)
    found["refund_amount_minor"] = amounts("refund_amount")
    found["shipping_refund_minor"] = amounts("shipping_refund_amount")
    flags = _column(_flag, given("returnless"), "returnless", problems)
    found["returnless"] = list(map(bool, flags))
    found["exchange_sku"] = texts("exchange_sku")
    counts = _column(_count, given("exchange_quantity"), "exchange_quantity", problems)
    found["exchange_quantity"] = [count or 0 for count in counts]
    found["exchange_unit_price_minor"] = amounts("exchange_unit_price")
    found["reason_code"] = texts("reason_id")
    found["source_rank"] = [rank] * len(items)
    found["problems"] = list(map(tuple, problems))
    unsaid: list[list[str]] = [[] for _ in items]  # a return's codes hold no unit up
    for ours in ("express_code", "merchant_rma"):
        found[ours] = _texts(given(ours), ours, unsaid)
    return found


def units(columns: Mapping[str, Sequence[Any]]) -> list[Unit]:
    """The units that ``readings`` tells of, one by one."""
    found = dict(columns)
    for place, stage in enumerate(_STAGES):
        found[stage] = [
            None if at is None else Fact(at, Precision(letters[place]))
            for at, letters in zip(columns[f"{stage}_at"], columns["precisions"], strict=True)
        ]
    return [Unit(*values) for values in zip(*(found[name] for name in _UNIT), strict=True)]


_UNIT = tuple(field.name for field in fields(Unit))


def _inspected(codes: list[str], outcomes: list[Any], problems: list[list[str]]) -> list[str]:
    # Two who looked: the warehouse and the hub. Where they say two things, both are kept.
    if _is_untold(outcomes):
        return codes
    asked = [
        None if code and not isinstance(outcome, str) else outcome
        for code, outcome in zip(codes, outcomes, strict=True)
    ]
    found = _texts(asked, "inspection_outcome", problems)
    both = list(zip(codes, found, strict=True))
    known = {told: told_by_two(*told) for told in set(both)}
    return [known[told] for told in both]


def _facts(
    given: Callable[[str], list[Any]],
    statuses: list[str],
    policy: HappyReturnsPolicy,
    told_at: list[datetime],
    problems: list[list[str]],
) -> dict[str, list[Any]]:
    """The instants of the facts, and how well each is known."""
    known: dict[str, list[datetime | None]] = {}
    letters: dict[str, list[str]] = {}
    for stage in _STAGES:
        known[stage] = _column(_instant, given(f"{stage}_at"), f"{stage}_at", problems)
        letters[stage] = _letters(known[stage], _EXACT)
    for stage, field in _DATES.items():
        at, days = known[stage], given(field)
        if _is_untold(at):
            known[stage] = _column(_day, days, field, problems)
            letters[stage] = _letters(known[stage], _DATE)
            continue
        days = [day if exact is None else None for day, exact in zip(days, at, strict=True)]
        for place, day in enumerate(_column(_day, days, field, problems)):
            if day is not None:
                at[place], letters[stage][place] = day, _DATE
    stages = {status: policy.statuses.get(_folded(status)) for status in set(statuses)}
    for place, status in enumerate(statuses if any(stages) else ()):
        told = stages[status]
        if told is not None and known[told.value][place] is None:
            # The status says that it happened; when: at its last change at the latest.
            known[told.value][place] = told_at[place]
            letters[told.value][place] = _INFERRED
        elif told is None and status:
            problems[place].append(f"status:unknown code {_short(status)}")
    found: dict[str, list[Any]] = {f"{stage}_at": at for stage, at in known.items()}
    found["precisions"] = list(map("".join, zip(*letters.values(), strict=True)))
    return found


def _letters(instants: list[datetime | None], known: str) -> list[str]:
    if _is_untold(instants):
        return ["-"] * len(instants)
    return ["-" if at is None else known for at in instants]


_EXACT, _DATE, _INFERRED = (one.value for one in Precision)


def _refund_types(
    values: list[Any], policy: HappyReturnsPolicy, rank: int, problems: list[list[str]]
) -> list[RefundType | None]:
    codes = _texts(values, "refund_type", problems)
    kinds = {code: policy.refund_types.get(_folded(code)) for code in set(codes) if code}
    if all(codes) and None not in kinds.values():
        return [kinds[code] for code in codes]
    found: list[RefundType | None] = []
    for code, value, own in zip(codes, values, problems, strict=True):
        if code:
            kind = kinds[code]
            if kind is None:
                own.append(f"refund_type:unknown code {_short(code)}")
        else:
            # The outbound feed is partial: what it does not say is not known, not "refund".
            # What could not be read is no more known.
            unsaid = value is None or value == ""
            kind = RefundType.REFUND if rank and unsaid else None
        found.append(kind)
    return found


_folded = lru_cache(maxsize=4096)(fold)  # codes are few


# --- columns ----------------------------------------------------------------------


def _texts(values: list[Any], ours: str, problems: list[list[str]]) -> list[str]:
    """A column of texts. Looked at as a whole first: nearly always there is nothing odd."""
    if _is_untold(values):
        return [""] * len(values)
    plain = values
    if None in plain:
        plain = ["" if value is None else value for value in values]
    try:
        whole = "".join(plain)
    except TypeError:  # not all of them are texts
        whole = "\0"
    if whole.isprintable() and max(map(len, plain)) <= _LONGEST_TEXT:
        # Of what is printable only a blank is stripped.
        return list(map(str.strip, plain)) if " " in whole else plain
    return [_text(value, ours, own) for value, own in zip(values, problems, strict=True)]


def _is_untold(values: list[Any]) -> bool:
    # The first tells nearly always: to compare all of them takes longer than to use them.
    return not values or (values[0] is None and values.count(None) == len(values))


def _column(
    read: Callable[..., T | None],
    values: list[Any],
    ours: str,
    problems: list[list[str]],
    *more: list[Any],
) -> list[T | None]:
    """A column of any other kind; ``None`` where nothing was told."""
    if _is_untold(values):
        return [None] * len(values)
    known: dict[Any, T | None] = {}
    if not more and set(map(type, values)) <= {str, type(None)}:
        # Days repeat, and so do the instants of one shipment: each text is read once.
        for value in set(values):
            own: list[str] = []
            result = None if value is None else read(value, ours, own)
            if not own:
                known[value] = result
        if len(known) == len(set(values)):
            return [known[value] for value in values]
    return [
        None if value is None else read(value, ours, *rest, own)
        for value, own, *rest in zip(values, problems, *more, strict=True)
    ]


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
    return repr(E_MAIL.sub("***", code)[:40])


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


def _fee(value: object, ours: str, problems: list[str]) -> tuple[int, str] | None:
    if value is None or value == "":
        return None
    minor, currency = -1, ""
    if isinstance(value, str) and len(value) <= _LONGEST_AMOUNT:
        try:
            minor, currency = parse_amount_with_currency(value)
        except ValueError:
            minor = -1
    if minor < 0:
        problems.append(f"{ours}:not an amount and a currency")
        return None
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
