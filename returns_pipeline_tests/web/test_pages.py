"""The pages: what is listed and shown, what is done to a task, and by whom it may be."""

from __future__ import annotations

from datetime import timedelta

import pytest

from returns_pipeline_tests.cli import rows
from returns_pipeline_tests.web.conftest import Site, put


def test_the_list_opens_at_the_tasks_of_ones_own_team(site: Site) -> None:
    page = site.signed_in("maria").see("/")

    assert "2 exceptions" in page
    assert "Out of policy window" in page
    assert "Disposition unmapped" not in page


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ("owner=", 4),
        ("owner=Operations", 1),
        ("owner=CX&severity=S4", 1),
        ("owner=&code=REFUND_AHEAD_OF_GATE", 1),
        ("owner=&overdue=1", 0),
        ("owner=&mine=1", 0),
        ("owner=nobody", 4),
    ],
)
def test_the_list_is_filtered(site: Site, asked: str, count: int) -> None:
    page = site.signed_in("maria").see(f"/?{asked}")

    assert f"{count} exception" in page


def test_the_list_says_what_is_late_and_at_stake(site: Site) -> None:
    site.clock.now += timedelta(hours=5)

    page = site.signed_in("maria").see("/")

    assert "2 overdue" in page
    assert "£60.00 at stake" in page
    assert "3 h late" in page


def test_a_long_list_has_pages(site: Site) -> None:
    for number in range(60):
        put(site.engine, "ORPHAN_RETURN", "CX", key=f"unit-{number}")
    maria = site.signed_in("maria")

    assert "1 of 2" in maria.see("/")
    assert maria.see("/?page=2").count('<li class="task') == 12


def test_a_task_is_shown_with_its_evidence_and_what_can_be_decided(site: Site) -> None:
    page = site.signed_in("olga").see(f"/exceptions/{site.numbers['DISPOSITION_UNMAPPED']}")

    assert "No row for melted" in page
    assert "SHIRT-M, received" in page
    assert "stock gate" in page
    assert "It is in this condition" in page
    assert "Damaged (HR Damaged; refund allow)" in page


def test_a_task_nobody_has_is_not_found(site: Site) -> None:
    maria = site.signed_in("maria")

    for path in ("/exceptions/99999", "/exceptions/x", "/nothing"):
        assert maria.client.get(path).status_code == 404


def test_to_acknowledge_makes_a_task_ones_own(site: Site) -> None:
    answer = site.signed_in("maria").do("RETURN_EXPIRED", "acknowledge")

    assert answer.status_code == 302
    row = site.row("RETURN_EXPIRED")
    assert (row.status, row.assignee) == ("ack", "maria")
    assert site.actions("RETURN_EXPIRED") == [("acknowledged", "maria")]


def test_to_assign_gives_a_task_to_somebody(site: Site) -> None:
    site.signed_in("maria").do("RETURN_EXPIRED", "assign", to="nina", owner="")

    assert site.row("RETURN_EXPIRED").assignee == "nina"


def test_to_hand_over_makes_it_another_teams(site: Site) -> None:
    site.signed_in("maria").do("OUT_OF_POLICY_WINDOW", "assign", to="", owner="Finance")

    assert site.row("OUT_OF_POLICY_WINDOW").owner == "Finance"
    assert "Out of policy window" in site.signed_in("fred").see("/")


def test_what_is_put_off_leaves_the_list_until_its_time(site: Site) -> None:
    maria = site.signed_in("maria")

    maria.do("RETURN_EXPIRED", "snooze", hours="24", reason="the carrier is asked")

    assert site.row("RETURN_EXPIRED").status == "snoozed"
    assert "Return expired" not in maria.see("/")
    assert "Return expired" in maria.see("/?owner=CX&snoozed=1")


def test_to_accept_closes_a_task_with_the_reason(site: Site) -> None:
    maria = site.signed_in("maria")

    maria.do("RETURN_EXPIRED", "resolve", kind="accept", reason="she kept it")

    row = site.row("RETURN_EXPIRED")
    assert (row.status, row.resolver) == ("resolved", "maria")
    assert row.resolution == "Accept it as it is: she kept it"
    assert "1 exception" in maria.see("/")


def test_a_decision_is_kept_with_its_author_and_its_policy(site: Site) -> None:
    answer = site.signed_in("olga").do(
        "DISPOSITION_UNMAPPED",
        "resolve",
        kind="disposition",
        disposition="DAMAGED",
        reason="a hole in it",
    )

    assert answer.status_code == 302
    (decision,) = site.decided()
    assert (decision.kind, decision.subject, decision.actor) == ("disposition", "u2", "olga")
    assert (decision.reason, decision.policy_hash) == ("a hole in it", site.policy.hash)
    assert decision.decided_at == site.clock.now
    assert site.row("DISPOSITION_UNMAPPED").status == "ack"
    page = site.signed_in("olga").see(f"/exceptions/{site.numbers['DISPOSITION_UNMAPPED']}")
    assert "waits for the next run" in page


def test_what_cannot_be_decided_so_is_said_where_it_was_asked(site: Site) -> None:
    answer = site.signed_in("fred").do(
        "OUT_OF_POLICY_WINDOW", "resolve", kind="refund", amount="600.00", reason="agreed"
    )

    assert answer.status_code == 422
    assert "600.00 GBP cannot be refunded" in answer.text
    assert 'value="600.00"' in answer.text
    assert site.decided() == []


def test_a_reason_is_asked_for(site: Site) -> None:
    answer = site.signed_in("maria").do("RETURN_EXPIRED", "resolve", kind="accept", reason="  ")

    assert answer.status_code == 422
    assert "Give a reason" in answer.text
    assert site.row("RETURN_EXPIRED").status == "open"


def test_what_somebody_did_meanwhile_is_shown_before_anything_is_decided(site: Site) -> None:
    maria = site.signed_in("maria")
    maria.do("RETURN_EXPIRED", "acknowledge")

    answer = maria.do("RETURN_EXPIRED", "resolve", kind="accept", reason="done", seen="1")

    assert answer.status_code == 409
    assert "since you looked" in answer.text
    assert site.row("RETURN_EXPIRED").status == "ack"


def test_a_closed_task_is_not_decided_again(site: Site) -> None:
    maria = site.signed_in("maria")
    maria.do("RETURN_EXPIRED", "resolve", kind="accept", reason="done")

    page = maria.see(f"/exceptions/{site.numbers['RETURN_EXPIRED']}")
    answer = maria.do("RETURN_EXPIRED", "resolve", kind="accept", reason="again", seen="2")

    assert "Put it off" not in page
    assert answer.status_code == 422
    assert "is closed" in answer.text


@pytest.mark.parametrize(
    ("name", "code", "action", "given"),
    [
        ("maria", "DISPOSITION_UNMAPPED", "acknowledge", {}),
        ("maria", "REFUND_AHEAD_OF_GATE", "resolve", {"kind": "accept"}),
        ("maria", "OUT_OF_POLICY_WINDOW", "resolve", {"kind": "refund"}),
        ("maria", "DISPOSITION_UNMAPPED", "assign", {"to": "maria", "owner": ""}),
        ("olga", "RETURN_EXPIRED", "snooze", {"hours": "24"}),
        ("fred", "DISPOSITION_UNMAPPED", "resolve", {"kind": "disposition", "disposition": "RTV"}),
    ],
)
def test_what_is_another_teams_is_refused(
    site: Site, name: str, code: str, action: str, given: dict[str, str]
) -> None:
    answer = site.signed_in(name).do(code, action, **{"reason": "because", **given})

    assert answer.status_code == 403
    assert site.row(code).status == "open"
    assert site.actions(code) == []
    assert site.decided() == []


def test_finance_may_pay_what_cx_holds(site: Site) -> None:
    answer = site.signed_in("fred").do(
        "OUT_OF_POLICY_WINDOW", "resolve", kind="refund", amount="10.00", reason="goodwill"
    )

    assert answer.status_code == 302
    assert [row.kind for row in site.decided()] == ["refund"]


def test_markup_in_evidence_is_shown_as_text(site: Site) -> None:
    nasty = '<script>alert("x")</script><img src=x onerror=alert(1)>'
    number = put(
        site.engine,
        "ORPHAN_RETURN",
        "CX",
        message=nasty,
        key=nasty,
        order_numbers='["<b>1</b>"]',
        assignee='"><script>1</script>',
    )
    maria = site.signed_in("maria")

    for page in (maria.see("/"), maria.see(f"/exceptions/{number}")):
        assert "<script" not in page
        assert "<img" not in page
        assert "<b>1</b>" not in page
        assert "&lt;script&gt;" in page


def test_no_answer_is_kept_framed_or_may_run_anything(site: Site) -> None:
    visitor = site.browser()
    maria = site.signed_in("maria")

    for answer in (
        visitor.client.get("/sign-in"),
        maria.client.get("/"),
        maria.client.get("/exceptions/99999"),
        maria.client.get("/static/page.css"),
    ):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script" not in policy
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "<script" not in maria.see("/")
    assert "style=" not in maria.see("/")


def test_another_host_name_is_not_answered(site: Site) -> None:
    answer = site.browser().client.get("/sign-in", headers={"Host": "evil.example"})

    assert answer.status_code == 400


def test_what_is_too_long_is_refused(site: Site) -> None:
    answer = site.signed_in("maria").do(
        "RETURN_EXPIRED", "resolve", kind="accept", reason="x" * 70_000
    )

    assert answer.status_code in {400, 413}
    assert site.row("RETURN_EXPIRED").status == "open"


def test_units_of_the_day_are_not_mixed_up(site: Site) -> None:
    page = site.signed_in("maria").see(f"/exceptions/{site.numbers['RETURN_EXPIRED']}")

    assert rows.BATCH not in page  # the evidence of another unit
