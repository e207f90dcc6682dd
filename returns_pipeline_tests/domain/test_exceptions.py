"""The catalogue as specified, the time an owner has, and a queue that closes itself."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from returns_pipeline.domain import exceptions as rules
from returns_pipeline.domain.exceptions import CATALOGUE, OpenException
from returns_pipeline.domain.model import ExceptionRaised, Owner, Severity
from returns_pipeline_tests.domain.build import T0, at, policy

# The specification's catalogue: code, severity, owner. Where it names two ("S2 (S1 > £x)",
# "CX/Finance by enum") the first stands here and the trigger may say more.
SPECIFIED = """
ORPHAN_RETURN S2 CX
ORDER_NOT_PROCESSED S3 Ops
ORDER_REF_AMBIGUOUS S2 CX
LINE_ID_MISSING S3 Ops
LINE_AMBIGUOUS_SKU S2 CX
SKU_UNKNOWN S2 Ops
SKU_UNLINKED S2 Ops
QTY_EXCEEDS_ORDERED S1 Ops
DUPLICATE_RETURN_UNIT S1 CX
BLIND_RETURN S2 Ops
KIT_INCOMPLETE S2 CX
REFUND_AHEAD_OF_GATE S2 Finance
REFUNDED_NOT_RECEIVED S2 Ops
RECEIVED_NOT_REFUNDED S2 CX
REFUND_BOOKED_NOT_ACTIONED S2 Finance
REFUND_DOUBLE_SUSPECTED S1 Finance
REFUND_OVER_CEILING S1 Finance
REFUND_AMOUNT_MISMATCH S2 Finance
REFUND_FAILED_AT_SOURCE S1 CX
LINNWORKS_CANNOT_REFUND S2 CX
LINNWORKS_CANNOT_RETURN S2 Ops
SEND_TO_CHANNEL_RISK S1 Finance
RETURN_EXPIRED S4 CX
ALERT_UNDELIVERED S2 Ops
RETURN_NOT_CONSERVED S2 Ops
RETURN_EXPIRED_AFTER_REFUND S1 CX
OUT_OF_POLICY_WINDOW S3 CX
APPROVAL_BURST S1 CX
WRONG_ITEM_SUSPECTED S1 CX
REFUND_OK_STOCK_FAILED S1 Ops
STOCK_OK_REFUND_MISSING S2 CX
DISPOSITION_MISSING S3 Ops
DISPOSITION_UNMAPPED S2 Ops
DISPOSITION_CONFLICT S2 Ops
WRONG_LOCATION S1 Ops
CO_MINGLED_STOCK S1 Ops
DOUBLE_RESTOCK S1 Ops
STOCK_DRIFT S2 Ops
BATCH_ITEM_MANUAL S3 Ops
SHIPMENT_SHORT S2 Ops
SHIPMENT_OVER S2 Ops
STUCK_IN_TRANSIT S2 Ops
EXCHANGE_ORDER_MISSING S1 CX
EXCHANGE_DUPLICATE S1 Ops
EXCHANGE_RELEASED_EARLY S2 Ops
EXCHANGE_UNEVEN_ZERO_VALUE S1 Finance
EXCHANGE_OOS S2 CX
EXCHANGE_CLEARING_AGED S2 Finance
BATCH_UNBALANCED S1 Finance
BATCH_INCOMPLETE S2 Finance
CONTROL_TOTAL_MISMATCH S1 Finance
LATE_ARRIVAL S4 Finance
PERIOD_LOCKED S2 Finance
EXPORT_REJECTED S1 Finance
POSTED_UNCONFIRMED S2 Finance
POSTED_TWICE S1 Finance
LEDGER_DRIFT S2 Finance
ACCOUNT_UNMAPPED S1 Finance
VAT_RATE_UNKNOWN S2 Finance
COST_MISSING S3 Finance
FX_RATE_MISSING S2 Finance
ROUNDING_OVER_LIMIT S2 Finance
STORE_CREDIT_UNMATCHED S2 Finance
SOURCE_STALE S1 Ops
SIGNATURE_INVALID S2 Ops
SCHEMA_DRIFT S3 Ops
EVENT_GAP S4 Ops
WRITE_UNKNOWN_OUTCOME S1 Ops
RATE_LIMIT_EXHAUSTED S3 Ops
CONFIG_CONTRADICTION S1 Ops
MAPPING_VERSION_CHANGED S4 Finance
CLOCK_AMBIGUOUS S3 Ops
"""
OWNERS = {"CX": Owner.CX, "Ops": Owner.OPERATIONS, "Finance": Owner.FINANCE}
EXPECTED = {
    code: (Severity(severity), OWNERS[owner])
    for code, severity, owner in (row.split() for row in SPECIFIED.strip().splitlines())
}


@pytest.mark.parametrize("code", EXPECTED)
def test_a_code_of_the_specification_has_its_severity_and_owner(code: str) -> None:
    entry = CATALOGUE[code]
    assert (entry.severity, entry.owner) == EXPECTED[code]


def test_the_catalogue_has_no_code_of_its_own() -> None:
    assert CATALOGUE.keys() == EXPECTED.keys()


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_every_code_says_what_happened_what_to_do_and_when_it_closes(
    entry: rules.CatalogueEntry,
) -> None:
    assert all((entry.trigger, entry.action, entry.closes_when, entry.title))
    assert entry.blocks in {"refund", "stock", "batch", "none"}


@pytest.mark.parametrize(
    ("code", "blocks"),
    [
        ("ORPHAN_RETURN", "stock"),
        ("DISPOSITION_UNMAPPED", "stock"),
        ("REFUND_AMOUNT_MISMATCH", "refund"),
        ("ACCOUNT_UNMAPPED", "batch"),
        ("EVENT_GAP", "none"),
    ],
)
def test_a_code_says_what_it_keeps_from_moving(code: str, blocks: str) -> None:
    assert CATALOGUE[code].blocks == blocks


def test_the_runbook_has_an_anchor_a_code() -> None:
    assert rules.runbook("ORPHAN_RETURN") == "docs/runbook.md#orphan_return"
    assert len({rules.runbook(code) for code in CATALOGUE}) == len(CATALOGUE)


# --- due times --------------------------------------------------------------------

FRIDAY = datetime(2026, 3, 13, 16, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("severity", "due"),
    [
        (Severity.S1, FRIDAY + timedelta(hours=4)),
        (Severity.S2, FRIDAY + timedelta(days=3)),  # Monday: one working day
        (Severity.S3, FRIDAY + timedelta(days=3)),
        (Severity.S4, FRIDAY + timedelta(days=7)),
    ],
)
def test_s2_is_counted_in_working_days_and_the_rest_by_the_clock(
    severity: Severity, due: datetime
) -> None:
    assert rules.due_at(severity, FRIDAY, policy()) == due


def test_the_time_an_owner_has_is_the_policys() -> None:
    own = policy(sla={**policy().sla, Severity.S2: timedelta(days=2, hours=3)})
    assert rules.due_at(Severity.S2, FRIDAY, own) == FRIDAY + timedelta(days=4, hours=3)


def test_a_working_day_is_the_merchants_and_keeps_its_wall_clock_over_a_clock_change() -> None:
    before = datetime(2026, 3, 27, 16, 0, tzinfo=UTC)  # the clocks go forward on the 29th
    assert rules.due_at(Severity.S2, before, policy()) == datetime(2026, 3, 30, 15, tzinfo=UTC)


# --- opening and closing ----------------------------------------------------------


def told(code: str = "STOCK_DRIFT", key: str = "k", **values: object) -> ExceptionRaised:
    return replace(ExceptionRaised(code, key, "a difference"), **values)


def opened(*raised: ExceptionRaised, **policies: object) -> list[OpenException]:
    return list(rules.refresh([], list(raised), now=T0, policy=policy(**policies)).opened)


def test_what_holds_opens_with_its_owner_severity_and_due_time() -> None:
    (one,) = opened(told())
    assert (one.severity, one.owner, one.opened_at) == (Severity.S2, Owner.OPERATIONS, T0)
    assert one.due_at == rules.due_at(Severity.S2, T0, policy())
    assert one.status == "open"


def test_one_exception_a_code_and_key_however_often_it_is_told() -> None:
    assert len(opened(told(), told(message="again"), told(key="other"))) == 2


def test_refreshing_again_changes_nothing() -> None:
    stored = opened(told(), told(key="other"))
    again = rules.refresh(stored, [told(), told(key="other")], now=at(1), policy=policy())
    assert again == rules.Changes((), (), ())


def test_an_exception_closes_when_its_cause_is_gone_and_may_open_anew() -> None:
    (one,) = opened(told())
    gone = rules.refresh([one], [], now=at(1), policy=policy())
    assert [closed for closed, _ in gone.resolved] == [one]
    closed = replace(one, status="auto_resolved")
    back = rules.refresh([closed], [told()], now=at(2), policy=policy())
    assert [new.opened_at for new in back.opened] == [at(2)]


@pytest.mark.parametrize("status", ["open", "ack", "snoozed"])
def test_what_a_person_did_stays(status: str) -> None:
    (one,) = opened(told())
    mine = replace(one, status=status, owner=Owner.FINANCE, snoozed_until=at(5))
    changed = rules.refresh([mine], [told(amount_minor=500)], now=at(1), policy=policy())
    (kept,) = changed.updated
    assert (kept.status, kept.owner, kept.opened_at) == (status, Owner.FINANCE, T0)
    assert kept.amount_minor == 500


def test_a_severity_that_rises_brings_the_due_time_forward_and_never_back() -> None:
    (one,) = opened(told())
    risen = rules.refresh([one], [told(severity=Severity.S1)], now=at(1), policy=policy())
    (s1,) = risen.updated
    assert (s1.severity, s1.due_at) == (Severity.S1, at(5))
    fallen = rules.refresh([s1], [told(severity=Severity.S3)], now=at(2), policy=policy())
    (s3,) = fallen.updated
    assert (s3.severity, s3.due_at) == (Severity.S3, at(5))


def test_a_severity_that_rises_late_does_not_put_off_what_was_due() -> None:
    (one,) = opened(told())
    late = rules.refresh([one], [told(severity=Severity.S1)], now=at(500), policy=policy())
    assert late.updated[0].due_at == one.due_at


def test_a_refresh_speaks_for_its_own_codes_only() -> None:
    stored = opened(told(), told("SOURCE_STALE"))
    changes = rules.refresh(stored, [], now=at(1), policy=policy(), scope={"SOURCE_STALE"})
    assert [one.code for one, _ in changes.resolved] == ["SOURCE_STALE"]
    other = rules.refresh([], [told()], now=T0, policy=policy(), scope={"SOURCE_STALE"})
    assert other.opened == ()


def test_the_policy_may_give_a_code_another_owner() -> None:
    (one,) = opened(told(), owners={"STOCK_DRIFT": Owner.FINANCE})
    assert one.owner is Owner.FINANCE


def test_a_code_nobody_knows_is_a_defect() -> None:
    with pytest.raises(KeyError):
        opened(told("NO_SUCH_CODE"))
