"""What units are worth to the people who look for them: the money at stake in a task.

Here: a unit's worth, and putting it on what was raised without an amount of its own. Not
here: what is refunded (``domain.refunds``), and how an exception opens (``control``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace

import sqlalchemy as sa

from returns_pipeline.domain.model import ExceptionRaised
from returns_pipeline.domain.money import share
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t

# Told for information: nothing was given and nothing is owed.
_NOTHING_AT_STAKE = frozenset({"RETURN_EXPIRED", "EVENT_GAP", "APPROVAL_BURST"})


def of_units(
    connection: sa.Connection, keys: Collection[str], *, currency: str
) -> dict[str, tuple[int, str]]:
    """What each unit was sold for, gross: minor units and their currency.

    Of one without a line, or whose line has no price of its own, what Happy Returns says is
    to be refunded; of one of which neither is known there is nothing.

    Args:
        connection: To read by.
        keys: Of the units.
        currency: Of what Happy Returns tells without one.
    """
    matched, lines, orders, items = (
        t.matches.c,
        t.order_lines.c,
        t.orders.c,
        t.return_items.c,
    )
    told = sa.select(items.unit_key, items.refund_amount_minor, items.currency).where(
        items.refund_amount_minor.is_not(None)
    )
    found = {
        row.unit_key: (row.refund_amount_minor, row.currency or currency)
        for row in records.in_chunks(connection, told, items.unit_key, keys)
    }
    sold = (
        sa.select(
            matched.unit_key, matched.unit_no, lines.total_minor, lines.quantity, orders.currency
        )
        .join_from(t.matches, t.order_lines, lines.row_id == matched.row_id)
        .join(t.orders, orders.order_id == lines.order_id)
        .where(matched.unit_no.is_not(None), lines.total_minor > 0)
    )
    for row in records.in_chunks(connection, sold, matched.unit_key, keys):
        worth = share(row.total_minor, max(1, row.quantity), row.unit_no)
        found[row.unit_key] = (worth, row.currency)
    return found


def total(worth: Iterable[tuple[int, str]]) -> tuple[int, str]:
    """The sum in the currency that most of it is in, and that currency; nothing: 0 and none."""
    by_currency: Counter[str] = Counter()
    for minor, currency in worth:
        by_currency[currency] += minor
    if not by_currency:
        return 0, ""
    currency, minor = by_currency.most_common(1)[0]
    return (minor, currency) if minor else (0, "")


def at_stake(
    connection: sa.Connection, raised: Iterable[ExceptionRaised], *, currency: str
) -> list[ExceptionRaised]:
    """The same, each with the worth of its units where it names no amount.

    Args:
        connection: To read by.
        raised: What holds.
        currency: The merchant's.
    """
    told = list(raised)
    keys = {key for one in told if _is_unsaid(one) for key in one.unit_keys}
    worth = of_units(connection, sorted(keys), currency=currency)
    found = []
    for one in told:
        if _is_unsaid(one):
            minor, of = total(worth[key] for key in one.unit_keys if key in worth)
            found.append(replace(one, amount_minor=minor, currency=of))
        else:
            found.append(one)
    return found


def _is_unsaid(one: ExceptionRaised) -> bool:
    return bool(one.unit_keys) and not one.amount_minor and one.code not in _NOTHING_AT_STAKE
