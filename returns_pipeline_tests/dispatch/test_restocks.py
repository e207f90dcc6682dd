"""Restocks: each unit once, in its place, whatever is lost and whoever else acts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline.clients.transport import CredentialsRevoked
from returns_pipeline.dispatch import intend, kinds
from returns_pipeline.dispatch.restocks import Booking
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.outbox import Intent
from returns_pipeline_tests.dispatch.conftest import (
    DAMAGED,
    NOW,
    RESTOCK,
    SETTLE,
    Account,
    order_id,
    row_id,
)

BOOK, ACTION = "CreateRMABooking", "ActionRMABooking"
# Every way a call can end other than with its answer.
FATES = (
    *("lost_before", "lost_after", "reset", "cut_body", "garbage", "empty"),
    *("http_500_before", "http_500_after", "http_429", "http_401", "redirect_307"),
)


def test_the_units_of_an_order_are_booked_once_and_actioned_once(account: Account) -> None:
    account.decide(1, 1, RESTOCK)
    account.decide(1, 1, DAMAGED)
    account.decide(1, 2, RESTOCK)

    account.restock()

    assert account.restocked() == {
        (row_id(1, 1), RESTOCK): 1,
        (row_id(1, 1), DAMAGED): 1,
        (row_id(1, 2), RESTOCK): 1,
    }
    assert account.calls[BOOK] == account.calls[ACTION] == 1
    assert account.state_of("unit-0002").state == "posted"
    assert account.state_of("unit-0002").rma_row_id is not None


def test_a_run_with_nothing_new_calls_nobody(account: Account) -> None:
    account.decide()
    account.restock()
    before = dict(account.calls)

    account.restock()

    assert account.calls == before


def test_a_scrapped_unit_is_returned_and_written_off(account: Account) -> None:
    account.decide(place=DAMAGED, scrap=True)

    account.restock()

    moved = [row["change"] for row in account.books()["moved"]]
    assert moved == [1, -1]
    assert account.state_of("unit-0001").state == "posted"


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("method", [BOOK, ACTION])
def test_a_lost_answer_is_settled_by_reading_back(account: Account, method: str, fate: str) -> None:
    account.decide()
    account.fault(method, fate)

    account.restock()
    account.wait()
    account.restock()
    account.wait()
    account.restock()

    assert account.restocked() == {(row_id(1), RESTOCK): 1}
    assert account.books()["open_bookings"] == 0
    assert account.state_of("unit-0001").state == "posted"
    assert account.left() == {}


@pytest.mark.parametrize("method", [BOOK, ACTION])
def test_an_unknown_write_rests_for_the_settle_time_before_anything_else(
    account: Account, method: str
) -> None:
    account.read_bookings()
    account.decide()
    account.fault(method, "lost_after")
    account.restock()
    before = account.calls[method]

    account.wait(SETTLE / 2)
    account.restock()

    assert account.calls[method] == before
    assert account.calls["GetRMAHeadersByOrderId"] == 0
    assert "unknown" in account.intents().values()


@pytest.mark.parametrize("fate", ["http_500_before", "http_500_after"])
@pytest.mark.parametrize("method", [BOOK, ACTION])
def test_an_answer_of_5xx_is_unknown_and_rests(account: Account, method: str, fate: str) -> None:
    account.decide()
    account.fault(method, fate)

    account.restock()
    account.wait(timedelta(minutes=1))
    account.restock()

    assert account.calls[method] == 1
    assert "unknown" in account.intents().values()


def test_a_lost_action_of_what_linnworks_posts_again_is_not_repeated(
    make_account: Callable[..., Account],
) -> None:
    account = make_account(second_action="posts_again")
    account.decide()
    account.fault(ACTION, "lost_after")
    account.restock()
    account.wait()

    account.restock()

    assert account.calls[ACTION] == 1
    assert account.restocked() == {(row_id(1), RESTOCK): 1}
    assert "found" in account.steps("rma_action")


def test_an_unknown_write_holds_up_its_own_order_only(account: Account) -> None:
    account.decide(1)
    account.fault(BOOK, "lost_after")
    account.restock()

    account.decide(1, 2)
    account.decide(2)
    account.restock()

    assert account.restocked(1) == {}
    assert account.restocked(2) == {(row_id(2), RESTOCK): 1}


def test_a_booking_is_found_by_its_lines_where_linnworks_does_not_show_our_reference(
    make_account: Callable[..., Account],
) -> None:
    account = make_account(reference_echoed=False)
    account.decide()
    account.fault(BOOK, "lost_after")

    account.restock()
    account.wait()
    account.restock()

    assert account.restocked() == {(row_id(1), RESTOCK): 1}
    assert account.calls[BOOK] == 1


def test_a_refused_return_waits_for_a_person_and_the_others_go_on(account: Account) -> None:
    for _ in range(4):  # three were ordered
        account.decide(1)
    account.decide(2)

    account.restock()

    assert account.restocked(1) == {}
    held = account.state_of("unit-0001")
    assert held.state == "held"
    assert "OverReturning" in held.note
    assert account.restocked(2) == {(row_id(2), RESTOCK): 1}
    assert account.intents()["rma_action"] in {"withdrawn", "confirmed"}


def test_success_with_an_error_text_is_read_back_not_believed(
    make_account: Callable[..., Account],
) -> None:
    account = make_account(success_with_errors=True)
    account.decide()

    account.restock()
    assert account.state_of("unit-0001").state == "intended"
    account.wait()
    account.restock()

    assert account.restocked() == {(row_id(1), RESTOCK): 1}
    assert account.state_of("unit-0001").state == "posted"
    assert account.calls[ACTION] == 1


def test_an_open_booking_of_staff_that_fits_is_adopted_and_actioned(account: Account) -> None:
    account.staff(
        action="book_rma",
        order_reference="#1",
        lines=[{"row_id": row_id(1), "quantity": 1, "location": "HR Restock"}],
    )
    account.read_bookings()
    account.decide()

    account.restock()

    assert account.calls[BOOK] == 0
    assert account.calls[ACTION] == 1
    assert account.restocked() == {(row_id(1), RESTOCK): 1}
    assert account.state_of("unit-0001").state == "posted"


def test_a_return_staff_have_actioned_is_adopted_as_done(account: Account) -> None:
    account.staff(
        action="book_rma",
        order_reference="#1",
        lines=[{"row_id": row_id(1), "quantity": 1, "location": "HR Restock"}],
        action_too=True,
    )
    account.read_bookings()
    account.wait(timedelta(hours=3))
    account.decide()

    account.restock()

    assert account.calls[BOOK] == account.calls[ACTION] == 0
    assert account.restocked() == {(row_id(1), RESTOCK): 1}
    posted = account.state_of("unit-0001")
    assert posted.state == "posted"
    assert posted.posted_at == NOW  # when they did it, not when it was found


def test_a_booking_of_staff_to_another_location_is_held(account: Account) -> None:
    account.staff(
        action="book_rma",
        order_reference="#1",
        lines=[{"row_id": row_id(1), "quantity": 1, "location": "HR Damaged"}],
    )
    account.read_bookings()
    account.decide()

    account.restock()

    assert account.calls[BOOK] == account.calls[ACTION] == 0
    assert account.state_of("unit-0001").note.startswith("WRONG_LOCATION:")


def test_a_booking_of_staff_that_does_not_fit_is_held(account: Account) -> None:
    account.staff(
        action="book_rma",
        order_reference="#1",
        lines=[{"row_id": row_id(1), "quantity": 2, "location": "HR Restock"}],
    )
    account.read_bookings()
    account.decide()

    account.restock()

    assert account.restocked() == {}
    assert account.state_of("unit-0001").note.startswith("LINNWORKS_CANNOT_RETURN:")


def test_a_booking_of_staff_for_another_line_stops_nothing(account: Account) -> None:
    account.staff(
        action="book_rma",
        order_reference="#1",
        lines=[{"row_id": row_id(1, 2), "quantity": 1, "location": "HR Restock"}],
        action_too=True,
    )
    account.read_bookings()
    account.decide()

    account.restock()

    assert account.restocked()[row_id(1), RESTOCK] == 1


def test_our_own_bookings_are_not_taken_for_somebody_elses(account: Account) -> None:
    account.read_bookings()
    account.decide()
    account.restock()
    account.read_bookings()
    account.decide()

    account.restock()

    assert account.restocked() == {(row_id(1), RESTOCK): 2}
    assert account.calls["GetRMAHeadersByOrderId"] == 0


@pytest.mark.parametrize("switch", ["reference_echoed", "return_id_is_row_id"])
def test_our_own_bookings_are_known_under_either_reading_of_the_bulk_search(
    make_account: Callable[..., Account], switch: str
) -> None:
    account = make_account(**{switch: False})
    account.decide()
    account.restock()
    account.read_bookings()
    account.decide()

    account.restock()

    assert account.restocked() == {(row_id(1), RESTOCK): 2}


def test_a_restock_that_a_restored_database_has_forgotten_is_adopted(account: Account) -> None:
    account.decide()
    account.restock()
    with account.engine.begin() as connection:  # as the backup had it
        connection.execute(sa.delete(t.attempts))
        connection.execute(sa.delete(t.intents))
        forgotten = dict.fromkeys(("posted_at", "intent_key", "rma_header_id", "rma_row_id"))
        connection.execute(sa.update(t.stock_adjustments).values(state="ready", **forgotten))
    account.read_bookings()

    account.restock()

    assert account.restocked() == {(row_id(1), RESTOCK): 1}
    assert account.calls[BOOK] == account.calls[ACTION] == 1
    assert account.state_of("unit-0001").state == "posted"


def test_a_booking_whose_location_was_edited_is_not_actioned(account: Account) -> None:
    account.decide()
    account.fault(ACTION, "lost_before")
    account.restock()
    header = next(iter(account.state.rmas))
    account.staff(action="edit_location", header_id=header, location="HR Damaged")
    account.wait()

    account.restock()

    assert account.restocked() == {}
    assert account.state_of("unit-0001").note.startswith("WRONG_LOCATION:")


def test_a_booking_staff_actioned_before_us_is_not_actioned_again(
    make_account: Callable[..., Account],
) -> None:
    account = make_account(second_action="posts_again")
    account.decide()
    account.fault(ACTION, "lost_before")
    account.restock()
    account.staff(action="action_rma", header_id=next(iter(account.state.rmas)))
    account.wait()

    account.restock()

    assert account.restocked() == {(row_id(1), RESTOCK): 1}
    assert len(account.books()["moved"]) == 1
    assert account.state_of("unit-0001").state == "posted"


def test_a_surplus_booking_of_ours_is_deleted_and_one_is_actioned(account: Account) -> None:
    account.decide()
    account.fault(BOOK, "lost_after")
    account.restock()
    [first] = account.state.rmas.values()
    account.staff(
        action="book_rma",
        order_reference="#1",
        reference=first.reference,
        lines=[{"row_id": row_id(1), "quantity": 1, "location": "HR Restock"}],
    )
    account.wait()

    account.restock()

    assert account.restocked() == {(row_id(1), RESTOCK): 1}
    assert account.books()["open_bookings"] == 0


def test_two_workers_never_send_one_intent_twice(account: Account) -> None:
    for number in range(1, 21):
        account.decide(number)
    intend.intend_restocks(account.engine, policy=account.policy, now=NOW)
    workers = [
        Thread(target=account.dispatcher(f"worker-{n}").drive, args=(kinds.RESTOCK,))
        for n in range(2)
    ]

    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    account.restock()

    assert account.calls[BOOK] == account.calls[ACTION] == 20
    assert all(account.restocked(n) == {(row_id(n), RESTOCK): 1} for n in range(1, 21))


def test_a_claim_whose_worker_died_is_read_back_after_its_term(account: Account) -> None:
    from returns_pipeline.dispatch.protocol import LEASE
    from returns_pipeline.storage import outbox

    account.decide()
    intend.intend_restocks(account.engine, policy=account.policy, now=NOW)
    claimed = outbox.claim(
        account.engine, "rma_booking", now=NOW, holder="dead", lease=LEASE, run_id="dead"
    )
    assert claimed is not None

    account.restock()
    assert account.calls[BOOK] == 0  # its term runs
    account.wait(SETTLE + LEASE)
    account.restock()

    assert account.restocked() == {(row_id(1), RESTOCK): 1}


def test_a_stored_intent_that_was_altered_is_never_sent(account: Account) -> None:
    account.decide()
    intend.intend_restocks(account.engine, policy=account.policy, now=NOW)
    with account.engine.begin() as connection:
        connection.execute(
            sa.update(t.intents)
            .where(t.intents.c.kind == "rma_booking")
            .values(payload={"order_id": order_id(2), "lines": [], "category": ""})
        )

    account.drive(kinds.RESTOCK)

    assert account.calls[BOOK] == 0
    assert account.intents()["rma_booking"] == "suspense"


def test_revoked_credentials_stop_everything_and_lose_nothing(account: Account) -> None:
    account.decide(1)
    account.decide(2)
    account.fault(BOOK, "http_401", times=2)

    with pytest.raises(CredentialsRevoked):
        account.restock()
    account.wait()
    account.restock()

    assert account.restocked(1) == {(row_id(1), RESTOCK): 1}
    assert account.restocked(2) == {(row_id(2), RESTOCK): 1}


def test_an_unusual_number_of_units_stops_before_the_first_write(account: Account) -> None:
    from dataclasses import replace

    account.decide(1)
    account.decide(2)
    account.policy = replace(
        account.policy, breakers=replace(account.policy.breakers, max_units_per_run=1)
    )

    with pytest.raises(intend.BreakerOpen, match="max_units_per_run of 1"):
        account.restock()

    assert account.calls[BOOK] == 0
    assert account.intents() == {}


def test_a_vendor_that_is_gone_is_not_stormed(account: Account) -> None:
    for number in range(1, 31):
        account.decide(number)
    account.fault(BOOK, "http_500_before", times=1000)
    dispatcher = account.dispatcher()
    dispatcher.stop.wait = lambda _seconds=None: False  # type: ignore[method-assign]
    intend.intend_restocks(account.engine, policy=account.policy, now=NOW)

    dispatcher.drive(kinds.RESTOCK)

    assert account.calls[BOOK] == 6  # five failures and one probe


def _attempts(account: Account) -> list[dict[str, Any]]:
    with account.engine.connect() as connection:
        return [row._asdict() for row in connection.execute(sa.select(t.attempts))]


def test_no_step_of_the_record_holds_anything_personal(account: Account) -> None:
    account.decide()
    account.fault(BOOK, "garbage")
    account.restock()
    account.wait()
    account.restock()

    text = repr(_attempts(account))

    assert "canary" not in text.lower()


def test_an_item_our_own_code_fails_on_stops_no_other_and_becomes_a_task(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.decide(1)
    account.decide(2)
    usual = Booking.precheck

    def poisoned(self: Booking, intent: Intent) -> Any:
        if intent.payload["order_id"] == order_id(1):
            raise KeyError
        return usual(self, intent)

    monkeypatch.setattr(Booking, "precheck", poisoned)

    account.restock()
    assert account.restocked(2) == {(row_id(2), RESTOCK): 1}
    for _ in range(6):
        account.wait()
        account.restock()

    assert account.state_of("unit-0001").state == "held"
    assert "before anything was sent" in account.state_of("unit-0001").note
    assert account.restocked(1) == {}


def test_an_outage_however_long_puts_nothing_before_a_person(account: Account) -> None:
    account.decide()
    intend.intend_restocks(account.engine, policy=account.policy, now=NOW)
    account.fault(BOOK, "http_401", times=1000)
    for _ in range(8):
        with pytest.raises(CredentialsRevoked):
            account.drive(kinds.RESTOCK)
        account.wait()
    account.server.vendor.faults.clear()

    account.drive(kinds.RESTOCK)

    assert account.restocked() == {(row_id(1), RESTOCK): 1}
