"""Happy Returns items without the shopper: what may be stored of a payload.

Here: which fields are kept, which are personal, which nobody knows; one by one and many at
once, with one result. Nothing here raises on a payload. Not here: what the fields mean
(``happy_returns``); Linnworks' orders, which are read by an allow-list (``linnworks``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from returns_pipeline.domain.policy import fold

_RAW = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY = msgspec.json.Decoder()
_CANONICAL = msgspec.json.Encoder()

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises when the bytes are no JSON, no UTF-8, or nested without end."""

E_MAIL = re.compile(r"[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+")


def fields_of(raw: bytes | str) -> dict[str, msgspec.Raw]:
    """The fields of an item, undecoded; none of what is no JSON object."""
    try:
        return _RAW.decode(raw)
    except UNREADABLE:
        return {}


def decoded(value: msgspec.Raw | bytes) -> Any:
    """A value; ``None`` where it cannot be read."""
    try:
        return _ANY.decode(value)
    except UNREADABLE:
        return None


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


@dataclass(frozen=True, slots=True)
class _Plan:
    """What becomes of the fields of items that have the same names."""

    kept: tuple[tuple[str, bool], ...]  # in order; with: only where the value is a code
    unknown: tuple[str, ...]  # as they may be told


@lru_cache(maxsize=1024)
def _plan(names: tuple[str, ...], known: tuple[str, ...]) -> _Plan:
    kept, unknown = [], []
    for name in names:
        if name in known:
            kept.append((name, False))
        elif not _NAME.fullmatch(name):
            # It may be anything, the shopper's own name included: an object keyed by it.
            unknown.append("(a name that is no identifier)")
        elif not _is_personal(name):
            kept.append((name, True))
            if name not in _IGNORED:
                unknown.append(name)
    return _Plan(tuple(sorted(kept)), tuple(dict.fromkeys(unknown)))


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
    found = fields_of(raw)
    plan = _plan(tuple(found), tuple(fields.values()))
    kept = {
        name: found[name]
        for name, is_doubtful in plan.kept
        if not is_doubtful or _CODE.fullmatch(found[name])
    }
    encoded = _CANONICAL.encode(kept)
    if not _is_plain(encoded):
        # Seldom: value by value, and what cannot be decoded is not kept.
        clean = {name: _without_personal(decoded(value)) for name, value in kept.items()}
        encoded = _CANONICAL.encode(clean)
    return encoded, list(plan.unknown)


def redact_all(raws: Sequence[bytes], fields: Mapping[str, str]) -> list[tuple[str, str]]:
    """Many items, each as ``redact`` gives it: the body, and the unknown names, one a line.

    Args:
        raws: The items as received.
        fields: Our name to the vendor's (policy).
    """
    found: list[tuple[str, str]] = []
    for first in range(0, len(raws), _AT_ONCE):
        found.extend(_redacted(raws[first : first + _AT_ONCE], fields))
    return found


_AT_ONCE = 50  # so many are looked at as one text; more would not stay in the cache


@dataclass(frozen=True, slots=True)
class _Form:
    """A struct of undecoded fields, in the order in which they are kept; no other is known."""

    decoder: msgspec.json.Decoder[Any]
    doubtful: tuple[str, ...]
    dropped: tuple[str, ...]
    unknown: tuple[tuple[str, str], ...]  # the struct's name, the vendor's


@lru_cache(maxsize=64)
def _form(told: tuple[str, ...], known: tuple[str, ...]) -> _Form:
    """The form of items whose names are all known, harmless or among these."""
    more = filter(_NAME.fullmatch, told)
    names = tuple(dict.fromkeys((*known, *sorted(_IGNORED), *more)))
    plan = _plan(names, known)
    kept = dict(plan.kept)
    ours = {
        name: f"field_{place}"
        for place, name in enumerate([*kept, *(name for name in names if name not in kept)])
    }
    struct = msgspec.defstruct(
        "Item",
        [(own, msgspec.Raw, msgspec.UNSET) for own in ours.values()],
        rename={own: name for name, own in ours.items()},
        forbid_unknown_fields=True,
        gc=False,
    )
    return _Form(
        msgspec.json.Decoder(struct),
        tuple(ours[name] for name, is_doubtful in plan.kept if is_doubtful),
        tuple(own for name, own in ours.items() if name not in kept),
        tuple((ours[name], name) for name in plan.unknown),
    )


def _redacted(raws: Sequence[bytes], fields: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Items of mostly one form; those that are not as the first go one by one."""
    known = tuple(fields.values())
    form = _form(tuple(fields_of(raws[0])), known)
    try:
        items = list(map(form.decoder.decode, raws))
    except UNREADABLE:  # one of them, or it has a field that the first has not
        items = [_formed(form, raw) for raw in raws]
    formed = [item for item in items if item is not None]
    unknown = _unknown(form, formed)
    _drop(form, formed)
    told = zip(_texts(formed), unknown, strict=True)
    for raw, item in zip(raws, items, strict=True):
        body, names_told = ("", "") if item is None else next(told)
        if not body:
            encoded, listed = redact(raw, fields)
            body, names_told = encoded.decode(), "\n".join(listed)
        yield body, names_told


def _formed(form: _Form, raw: bytes) -> Any:
    try:
        return form.decoder.decode(raw)
    except UNREADABLE:
        return None


def _unknown(form: _Form, items: list[Any]) -> list[str]:
    if not form.unknown:
        return [""] * len(items)
    return [
        "\n".join(name for own, name in form.unknown if getattr(item, own) is not msgspec.UNSET)
        for item in items
    ]


def _drop(form: _Form, items: list[Any]) -> None:
    for own in form.dropped:
        for item in items:
            setattr(item, own, msgspec.UNSET)
    for own in form.doubtful:
        values = list(map(attrgetter(own), items))
        if _are_codes([value for value in values if value is not msgspec.UNSET]):
            continue
        for item, value in zip(items, values, strict=True):
            if value is not msgspec.UNSET and not _CODE.fullmatch(value):
                setattr(item, own, msgspec.UNSET)


def _are_codes(values: list[Any]) -> bool:
    """Whether all are texts that are codes: for sure, seen from all of them at once."""
    if not values:
        return True
    rest = b"\n".join(values).translate(None, _CODE_CHARACTERS)
    return rest == b"\n".join([b'""'] * len(values)) and max(map(len, values)) <= _LONGEST_CODE


_CODE_CHARACTERS = bytes(c for c in range(128) if re.match(rb"[\w.:+/#-]", bytes([c])))
_LONGEST_CODE = 66  # its quotes included


def _texts(items: list[Any]) -> list[str]:
    """The items as canonical JSON; nothing of those that are to be looked at value by value."""
    whole = _CANONICAL.encode_lines(items)
    if whole.count(b"\n") == len(items):
        if _is_plain(whole, items=len(items)):
            return whole.decode().split("\n")[:-1]
        lines = whole.split(b"\n")[:-1]
    else:  # an array may have been printed on several lines
        lines = list(map(_CANONICAL.encode, items))
    return [line.decode() if _is_plain(line) else "" for line in lines]


def _is_plain(encoded: bytes, *, items: int = 1) -> bool:
    """Whether nothing stands in them that may be an object, a nested array or an address."""
    if b"@" in encoded or encoded.count(b"{") > items:
        return False
    if b"\\" in encoded:  # it may spell "@" as \\u0040
        return False
    if encoded.count(b"[") != encoded.count(b":["):  # an array that is a value follows a name
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
            return E_MAIL.sub("***", value)
        case list():
            plain = [one for one in value if not isinstance(one, dict | list)]
            return [_without_personal(one) for one in plain]
        case dict():
            return {}
        case _:
            return value
