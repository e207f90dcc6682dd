"""Reading the books of a period: what is sealed, of which units, and what is still open.

A period's batches are those *dated* in it, as the ledger has them: an adjustment of a
locked month stands in the month it was moved to, and is named where it came from. Nothing
is written here; what is made of it is ``reporting.books``'.
"""

from __future__ import annotations

import calendar
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import sqlalchemy as sa

from returns_pipeline.domain.calendar import business_date, day_bounds
from returns_pipeline.domain.policy import Policy
from returns_pipeline.reporting.books import (
    OPEN_ROLES,
    BookLine,
    Books,
    BoundaryEvent,
    DayFigures,
    LateArrival,
    OpenItem,
    Sealed,
    UnitEntry,
    VatRow,
    balances,
)
from returns_pipeline.steps import periods
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading
from returns_pipeline.storage.types import Row, Select

BOUNDARY = timedelta(hours=2)
"""How near midnight an event is shown with both days in view."""

_entry, _batch, _line = t.postings.c, t.batches.c, t.batch_lines.c
_SIGNED = sa.case((_entry.side == "debit", _entry.amount_minor), else_=-_entry.amount_minor)
# What somebody else clears: the payout, the shop. Their items are listed for the period.
_CLEARED_ELSEWHERE = ("store_credit_liability", "refund_clearing")


@dataclass(frozen=True, slots=True)
class Period:
    """A day or a month of business dates."""

    first: date
    last: date


def day(of: date) -> Period:
    """One business day."""
    return Period(of, of)


def month(of: str) -> Period:
    """A month, ``2026-03``.

    Raises:
        NoPeriod: When the text names none.
    """
    first = date.fromisoformat(f"{periods.month(of)}-01")
    return Period(first, first.replace(day=calendar.monthrange(first.year, first.month)[1]))


def books(engine: sa.Engine, period: Period, *, policy: Policy) -> Books:
    """The books of a period, as far as they are sealed."""
    with reading(engine) as connection:
        return _Reader(connection, period, policy).books()


class _Reader:
    """Reads the parts of one period's books over one connection."""

    def __init__(self, connection: sa.Connection, period: Period, policy: Policy) -> None:
        self.connection, self.period, self.policy = connection, period, policy
        self.zone = policy.merchant.time_zone
        self.names = policy.exports.account_names
        self.dated = _batch.business_date.between(period.first, period.last)
        self.ids = sa.select(_batch.batch_id).where(self.dated)

    def rows(self, query: Select) -> list[Row]:
        return list(self.connection.execute(query))

    def books(self) -> Books:
        batches = self._batches()
        lines = self._lines()
        units = self._units()
        items = [*self._in_transit_and_exchanges(), *self._cleared_elsewhere()]
        items.sort(key=lambda item: (item.account, item.currency, item.since, item.item_id))
        return Books(
            first=self.period.first,
            last=self.period.last,
            merchant=self.policy.merchant.name,
            base_currency=self.policy.merchant.currency,
            time_zone=self.zone,
            ends_at=day_bounds(self.period.last, self.zone)[1],
            is_locked=self._is_locked(),
            batches=batches,
            lines=lines,
            units=units,
            vat=_vat(lines, {one.batch_id for one in batches if one.kind == "reversal"}),
            open_items=tuple(items),
            balances=tuple(balances(self._ledger(), items, self.names)),
            late=self._late(),
            boundary=self._boundary(),
            days=self._days(batches),
            unsealed=self._unsealed(),
            refused=self._refused(),
        )

    # --- batches --------------------------------------------------------------------

    def _batches(self) -> tuple[Sealed, ...]:
        exports: dict[str, list[str]] = defaultdict(list)
        done = t.batch_exports.c
        for row in self.rows(
            sa.select(done.batch_id, done.target)
            .where(done.batch_id.in_(self.ids))
            .distinct()
            .order_by(done.batch_id, done.target)
        ):
            exports[row.batch_id].append(row.target)
        sums: dict[str, tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
        sums |= {
            row.batch_id: (row.lines, int(row.debit), int(row.credit))
            for row in self.rows(
                sa.select(
                    _line.batch_id,
                    sa.func.count().label("lines"),
                    _sum_where(_line.side == "debit", _line.amount_minor).label("debit"),
                    _sum_where(_line.side == "credit", _line.amount_minor).label("credit"),
                )
                .where(_line.batch_id.in_(self.ids))
                .group_by(_line.batch_id)
            )
        }
        query = (
            sa.select(t.batches).where(self.dated).order_by(_batch.business_date, _batch.batch_id)
        )
        return tuple(
            Sealed(
                batch_id=row.batch_id,
                kind=row.kind,
                state=row.state,
                business_date=row.business_date,
                origin_date=row.origin_date,
                entity=row.legal_entity or row.entity,
                channel_group=row.channel_group,
                currency=row.currency,
                totals=json.loads(row.totals),
                lines=sums[row.batch_id][0],
                debit_minor=sums[row.batch_id][1],
                credit_minor=sums[row.batch_id][2],
                hash=row.hash,
                policy_hash=row.policy_hash,
                of_batch=row.reverses_id or row.replaces_id or "",
                description=row.description,
                sealed_at=row.sealed_at,
                exported_at=row.exported_at,
                posted_at=row.posted_at,
                ledger_id=row.ledger_id,
                exports=tuple(exports[row.batch_id]),
            )
            for row in self.rows(query)
        )

    def _lines(self) -> tuple[BookLine, ...]:
        query = (
            sa.select(t.batch_lines, _batch.business_date)
            .join_from(t.batch_lines, t.batches, _line.batch_id == _batch.batch_id)
            .where(self.dated)
            .order_by(_batch.business_date, _line.batch_id, _line.number)
        )
        return tuple(
            BookLine(
                batch_id=row.batch_id,
                business_date=row.business_date,
                number=row.number,
                account=row.account,
                account_name=self.names.get(row.account, ""),
                role=row.role,
                tax_key=row.tax_key,
                side=row.side,
                minor=row.amount_minor,
                currency=row.currency,
                base_minor=row.base_minor,
                units=tuple(json.loads(row.unit_keys)),
            )
            for row in self.rows(query)
        )

    # --- units ----------------------------------------------------------------------

    def _units(self) -> tuple[UnitEntry, ...]:
        query = (
            sa.select(
                _entry.batch_id,
                _entry.unit_key,
                _entry.currency,
                _entry.role,
                _entry.side,
                sa.func.sum(_entry.amount_minor).label("minor"),
            )
            .where(_entry.batch_id.in_(self.ids))
            .group_by(_entry.batch_id, _entry.unit_key, _entry.currency, _entry.role, _entry.side)
            .order_by(_entry.batch_id, _entry.unit_key)
        )
        found: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
        for row in self.rows(query):
            found[row.batch_id, row.unit_key, row.currency].append(row)
        who = self._who({key[1] for key in found})
        reversals = {
            row.batch_id
            for row in self.rows(
                sa.select(_batch.batch_id).where(self.dated, _batch.kind == "reversal")
            )
        }
        return tuple(
            _unit_entry(key, rows, who.get(key[1], _NOBODY), back=key[0] in reversals)
            for key, rows in found.items()
        )

    def _who(self, keys: set[str]) -> dict[str, dict[str, str]]:
        items = t.return_items.c
        query = sa.select(items.unit_key, items.return_id, items.order_number, items.sku)
        found = {
            row.unit_key: {
                "return_id": row.return_id,
                "order_number": row.order_number,
                "sku": row.sku,
                "condition": "",
            }
            for row in records.in_chunks(self.connection, query, items.unit_key, keys)
        }
        for key, decision in records.decisions_of(self.connection, keys).items():
            if key in found:
                found[key]["condition"] = decision.decided.disposition.value
        return found

    # --- what is open ---------------------------------------------------------------

    def _ledger(self) -> dict[tuple[str, str, str], int]:
        """By role, account and currency: what the sealed lines come to at the period's end."""
        signed = sa.case((_line.side == "debit", _line.amount_minor), else_=-_line.amount_minor)
        query = (
            sa.select(_line.role, _line.account, _line.currency, sa.func.sum(signed).label("minor"))
            .join_from(t.batch_lines, t.batches, _line.batch_id == _batch.batch_id)
            .where(_batch.business_date <= self.period.last, _open_role(_line.role))
            .group_by(_line.role, _line.account, _line.currency)
        )
        return {(row.role, row.account, row.currency): int(row.minor) for row in self.rows(query)}

    def _in_transit_and_exchanges(self) -> Iterator[OpenItem]:
        """Every unit still in transit; every exchange no replacement was ordered for.

        Exchanges that were taken up are one item: the sales feed books their other leg.
        """
        made = t.exchange_orders.c
        ordered = (
            sa.select(made.unit_key)
            .where(made.created_order_at.is_not(None), made.created_order_at < self._end)
            .subquery()
        )
        total = sa.func.sum(_SIGNED)
        query = (
            sa.select(
                _entry.role,
                _entry.account,
                _entry.currency,
                _entry.unit_key,
                sa.func.min(_batch.origin_date).label("since"),
                total.label("minor"),
                sa.func.max(ordered.c.unit_key).is_not(None).label("taken_up"),
            )
            .select_from(
                t.postings.join(t.batches, _entry.batch_id == _batch.batch_id).outerjoin(
                    ordered, _entry.unit_key == ordered.c.unit_key
                )
            )
            .where(
                _batch.business_date <= self.period.last,
                _entry.role.in_(("returned_goods_in_transit", "exchange_clearing")),
            )
            .group_by(_entry.role, _entry.account, _entry.currency, _entry.unit_key)
            .having(total != 0)
        )
        rows = self.rows(query)
        who = self._who({row.unit_key for row in rows})
        taken: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
        for row in rows:
            if row.role == "exchange_clearing" and row.taken_up:
                taken[row.role, row.account, row.currency].append(row)
            else:
                yield self._item(row, who.get(row.unit_key, _NOBODY))
        for (role, account, currency), those in taken.items():
            yield OpenItem(
                role=role,
                account=account,
                currency=currency,
                item_id="",
                return_id="",
                order_number="",
                sku="",
                since=min(row.since for row in those),
                age_days=None,
                minor=sum(int(row.minor) for row in those),
                note=f"{len(those)} taken up by replacement orders: the sales feed clears them",
            )

    def _cleared_elsewhere(self) -> Iterator[OpenItem]:
        """The period's store credit and refunds, unit by unit; what is older as one item."""
        roles = sa.or_(*(_role_is(_entry.role, role) for role in _CLEARED_ELSEWHERE))
        total = sa.func.sum(_SIGNED)
        query = (
            sa.select(
                _entry.role,
                _entry.account,
                _entry.currency,
                _entry.unit_key,
                sa.func.min(_batch.origin_date).label("since"),
                total.label("minor"),
            )
            .join_from(t.postings, t.batches, _entry.batch_id == _batch.batch_id)
            .where(_entry.batch_id.in_(self.ids), roles)
            .group_by(_entry.role, _entry.account, _entry.currency, _entry.unit_key)
            .having(total != 0)
        )
        rows = self.rows(query)
        who = self._who({row.unit_key for row in rows})
        for row in rows:
            yield self._item(row, who.get(row.unit_key, _NOBODY))
        signed = sa.case((_line.side == "debit", _line.amount_minor), else_=-_line.amount_minor)
        before = (
            sa.select(
                _line.role,
                _line.account,
                _line.currency,
                sa.func.min(_batch.origin_date).label("since"),
                sa.func.sum(signed).label("minor"),
            )
            .join_from(t.batch_lines, t.batches, _line.batch_id == _batch.batch_id)
            .where(
                _batch.business_date < self.period.first,
                sa.or_(*(_role_is(_line.role, role) for role in _CLEARED_ELSEWHERE)),
            )
            .group_by(_line.role, _line.account, _line.currency)
        )
        for row in self.rows(before):
            if row.minor:
                yield OpenItem(
                    role=row.role,
                    account=row.account,
                    currency=row.currency,
                    item_id="",
                    return_id="",
                    order_number="",
                    sku="",
                    since=row.since,
                    age_days=None,
                    minor=int(row.minor),
                    note="brought forward: of earlier periods, whose books list them",
                )

    @property
    def _end(self) -> datetime:
        return day_bounds(self.period.last, self.zone)[1]

    def _item(self, row: Row, who: Mapping[str, str]) -> OpenItem:
        return OpenItem(
            role=row.role,
            account=row.account,
            currency=row.currency,
            item_id=row.unit_key,
            return_id=who["return_id"],
            order_number=who["order_number"],
            sku=who["sku"],
            since=row.since,
            age_days=(self.period.last - row.since).days,
            minor=int(row.minor),
        )

    # --- time -----------------------------------------------------------------------

    def _late(self) -> tuple[LateArrival, ...]:
        """What was sealed after its day: dated in the period, or of it and dated later."""
        of = _batch.origin_date.between(self.period.first, self.period.last)
        rows = self.rows(
            _events()
            .add_columns(_batch.origin_date, _batch.business_date, _batch.sealed_at)
            .where(_batch.kind == "adjustment", sa.or_(self.dated, of))
            .group_by(_batch.origin_date, _batch.business_date, _batch.sealed_at)
        )
        who = self._who({row.unit_key for row in rows})
        return tuple(
            LateArrival(
                batch_id=row.batch_id,
                origin_date=row.origin_date,
                business_date=row.business_date,
                item_id=row.unit_key,
                return_id=who.get(row.unit_key, _NOBODY)["return_id"],
                order_number=who.get(row.unit_key, _NOBODY)["order_number"],
                happened_at=row.occurred_at,
                entered_at=row.entered_at,
                sealed_at=row.sealed_at,
                minor=int(row.minor),
                currency=row.currency,
            )
            for row in rows
        )

    def _boundary(self) -> tuple[BoundaryEvent, ...]:
        """Events near the period's two midnights, on either side of them."""
        start, end = day_bounds(self.period.first, self.zone)[0], self._end
        near = sa.or_(
            *(
                sa.and_(_entry.occurred_at >= at - BOUNDARY, _entry.occurred_at < at + BOUNDARY)
                for at in (start, end)
            )
        )
        one = timedelta(days=1)
        about = _batch.origin_date.between(self.period.first - one, self.period.last + one)
        rows = self.rows(_events().where(about, near, _batch.kind != "reversal"))
        who = self._who({row.unit_key for row in rows})
        found = []
        for row in rows:
            midnight = min((start, end), key=lambda at: abs(row.occurred_at - at))
            found.append(
                BoundaryEvent(
                    batch_id=row.batch_id,
                    item_id=row.unit_key,
                    order_number=who.get(row.unit_key, _NOBODY)["order_number"],
                    what="refund" if row.is_refund else "stock",
                    happened_at=row.occurred_at,
                    business_date=business_date(row.occurred_at, self.zone),
                    minutes=int((row.occurred_at - midnight).total_seconds() // 60),
                    minor=int(row.minor),
                    currency=row.currency,
                )
            )
        return tuple(sorted(found, key=lambda one: (one.happened_at, one.item_id, one.batch_id)))

    def _days(self, batches: tuple[Sealed, ...]) -> tuple[DayFigures, ...]:
        closed = {
            row[0]
            for row in self.rows(
                sa.select(t.closed_days.c.business_date).where(
                    t.closed_days.c.business_date.between(self.period.first, self.period.last)
                )
            )
        }
        units: Counter[date] = Counter()
        refunds: dict[date, Counter[str]] = defaultdict(Counter)
        count: Counter[date] = Counter()
        for batch in batches:
            count[batch.business_date] += 1
            units[batch.business_date] += batch.units
            refunds[batch.business_date][batch.currency] += batch.totals.get("refunds", 0)
        span = (self.period.last - self.period.first).days + 1
        days = [self.period.first + timedelta(days=n) for n in range(span)]
        return tuple(
            DayFigures(one, units[one], count[one], dict(refunds[one]), one in closed)
            for one in days
        )

    # --- what is not finished -------------------------------------------------------

    def _is_locked(self) -> bool:
        return periods.month_of(self.period.first) in periods.locked_months(self.connection)

    def _unsealed(self) -> dict[str, int]:
        query = (
            sa.select(_entry.currency, sa.func.sum(_entry.amount_minor).label("minor"))
            .where(
                _entry.batch_id.is_(None),
                _entry.side == "debit",
                _entry.business_date.between(self.period.first, self.period.last),
            )
            .group_by(_entry.currency)
        )
        return {row.currency: int(row.minor) for row in self.rows(query)}

    def _refused(self) -> int:
        due = t.refunds_due.c
        query = sa.select(sa.func.count()).where(due.state == "refused", due.batch_id.in_(self.ids))
        return int(self.connection.execute(query).scalar_one())


_NOBODY = {"return_id": "", "order_number": "", "sku": "", "condition": ""}


def _sum_where(
    condition: sa.ColumnElement[bool], column: sa.ColumnElement[int]
) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, column), else_=0))


def _role_is(column: sa.ColumnElement[str], role: str) -> sa.ColumnElement[bool]:
    return sa.or_(column == role, column.startswith(f"{role}."))


def _open_role(column: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    return sa.or_(*(_role_is(column, role) for role in OPEN_ROLES))


def _events() -> Select:
    """Postings by batch, unit and instant: what happened, and what it adds to the debits."""
    money = sa.or_(_entry.role == "sales_returns", _role_is(_entry.role, "refund_clearing"))
    refund = sa.func.max(sa.case((money, 1), else_=0))
    return (
        sa.select(
            _entry.batch_id,
            _entry.unit_key,
            _entry.currency,
            _entry.occurred_at,
            sa.func.min(_entry.created_at).label("entered_at"),
            _sum_where(_entry.side == "debit", _entry.amount_minor).label("minor"),
            refund.label("is_refund"),
        )
        .join_from(t.postings, t.batches, _entry.batch_id == _batch.batch_id)
        .group_by(_entry.batch_id, _entry.unit_key, _entry.currency, _entry.occurred_at)
        .order_by(_entry.batch_id, _entry.occurred_at, _entry.unit_key)
    )


def _unit_entry(
    key: tuple[str, str, str], rows: list[Row], who: Mapping[str, str], *, back: bool
) -> UnitEntry:
    debits: Counter[str] = Counter()
    credits_: Counter[str] = Counter()
    gateways: set[str] = set()
    # A reversal has its sides swapped; its parts stand in the same columns, negative.
    debit_side, sign = ("credit", -1) if back else ("debit", 1)
    for row in rows:
        role, _, gateway = row.role.partition(".")
        (debits if row.side == debit_side else credits_)[role] += sign * int(row.minor)
        if role == "refund_clearing":
            gateways.add(gateway)
    return UnitEntry(
        batch_id=key[0],
        item_id=key[1],
        return_id=who["return_id"],
        order_number=who["order_number"],
        sku=who["sku"],
        condition=who["condition"],
        currency=key[2],
        returned=debits["sales_returns"] - credits_["sales_returns"],
        shipping=debits["shipping_refunded"] - credits_["shipping_refunded"],
        vat=debits["vat_output"],
        discount=credits_["discount_reversal"] - debits["discount_reversal"],
        fee=credits_["return_fee_income"] - debits["return_fee_income"],
        fee_vat=credits_["vat_output"],
        refunded=credits_["refund_clearing"] - debits["refund_clearing"],
        store_credit=credits_["store_credit_liability"] - debits["store_credit_liability"],
        exchange=credits_["exchange_clearing"] - debits["exchange_clearing"],
        gateways=", ".join(sorted(gateways)).replace("_", " "),
        cost=debits["inventory"]
        + debits["returns_writeoff"]
        - credits_["inventory"]
        - credits_["returns_writeoff"],
    )


def _vat(lines: tuple[BookLine, ...], reversals: set[str]) -> tuple[VatRow, ...]:
    """By rate and currency, from the sealed lines.

    A credit of VAT is what fees keep; in a reversal, where sides are swapped, a debit.
    """
    sums: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for line in lines:
        if not line.tax_key:
            continue
        total = sums[line.currency, line.tax_key]
        role, sign = line.role.partition(".")[0], 1 if line.side == "debit" else -1
        base = line.minor if line.base_minor is None else line.base_minor
        kind = "vat" if role == "vat_output" else "net"
        total[f"base_{kind}"] += sign * base
        kept = "debit" if line.batch_id in reversals else "credit"
        fee = role == "return_fee_income" or (role == "vat_output" and line.side == kept)
        if fee:
            total[f"fee_{kind}"] -= sign * line.minor
        else:
            total[kind] += sign * line.minor
    return tuple(
        VatRow(
            rate=rate,
            currency=currency,
            net=total["net"],
            vat=total["vat"],
            fee_net=total["fee_net"],
            fee_vat=total["fee_vat"],
            base_net=total["base_net"],
            base_vat=total["base_vat"],
        )
        for (currency, rate), total in sorted(
            sums.items(), key=lambda one: (one[0][0], _percent(one[0][1]))
        )
    )


def _percent(rate: str) -> tuple[float, str]:
    try:
        return (-float(rate), rate)
    except ValueError:
        return (1.0, rate)
