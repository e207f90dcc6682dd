"""The policy file: only what differs is named, and everything wrong is named at once."""

from dataclasses import replace
from datetime import timedelta

import pytest

from returns_pipeline.domain.model import (
    Disposition,
    Executor,
    Owner,
    RefundType,
    Severity,
    Stage,
    StockEffect,
)
from returns_pipeline.domain.policy import fold
from returns_pipeline.settings import packaged_policy, parse_policy, policy_body, policy_hash
from returns_pipeline_tests.settings.conftest import Load, Problems


def test_the_packaged_policy_is_in_order_and_declares_nobody_to_pay(read: Load) -> None:
    policy = read().policy
    assert policy.refunds.executor is None
    assert policy.gate.stock is policy.gate.refund is policy.gate.exchange is Stage.RECEIVED
    assert policy.unmapped == "hold"
    assert policy.rules.keys() == set(Disposition)


def test_the_packaged_codes_are_those_the_specification_gives(read: Load) -> None:
    codes = read().policy.codes
    for canonical, spelled in {
        "SELLABLE": "saleable, back_to_stock, grade_a, sellable",
        "SELLABLE_B": "open box, grade_b",
        "TAG_MISSING": "tag-missing, no packaging",
        "DAMAGED": "damaged",
        "REFURB": "refurbish, repair, cleaning",
        "QUARANTINE": "quarantine, resale_hold, inspect",
        "WRONG_ITEM": "mismatch, swap, wrong-item",
        "RTV": "return to vendor",
        "DONATE": "donate",
        "RECYCLE": "recycle",
        "DISPOSE": "dispose, hazmat",
        "MISSING": "missing",
        "KEEP_ITEM": "returnless",
    }.items():
        for code in spelled.split(", "):
            assert codes[fold(code)] is Disposition(canonical), code


def test_an_own_policy_names_only_what_differs(read: Load) -> None:
    usual = read().policy
    own = read(policy='[merchant]\nname = "Shirts Ltd"\n[ages]\norphan_young = "12h"\n').policy
    assert own.merchant == replace(usual.merchant, name="Shirts Ltd")
    assert own.ages == replace(usual.ages, orphan_young=timedelta(hours=12))
    same = replace(own, merchant=usual.merchant, ages=usual.ages)
    assert replace(same, hash=usual.hash, body=usual.body) == usual


def test_every_table_of_an_own_policy_is_honoured(read: Load) -> None:
    policy = read(
        policy="""
        [merchant]
        time_zone = "Europe/Paris"
        currency = "EUR"
        entity = "FR"
        [happy_returns]
        lookups_per_run = 5
        order_number_format = "#{reference}"
        page_size = 10
        [happy_returns.fields]
        sku = "productSku"
        [happy_returns.statuses]
        "at hub" = "departed"
        [happy_returns.refund_types]
        gift-card = "store_credit"
        [linnworks]
        sources = ["SHOPIFY"]
        exchange_source = "SWAPS"
        [gate]
        refund_requires_approval = true
        [gate.refund_by_dropoff]
        return-bar = "dropped_off"
        [disposition]
        unmapped = "quarantine"
        [dispositions]
        "Like New" = "SELLABLE"
        [locations.DAMAGED]
        location = "Bin room"
        [refunds]
        executor = "happy_returns"
        tolerance_minor = 0
        [refunds.gateways]
        Klarna = "klarna"
        [ages]
        refunded_not_received = ["20d", "10d"]
        [breakers]
        max_units_per_run = 9
        [finance]
        post_cost = false
        [finance.accounts]
        "inventory.damaged" = "1099"
        [schedules]
        sync = "*/10 6-22 * * mon-fri"
        [owners]
        STOCK_DRIFT = "Finance"
        [sla]
        S1 = "30m"
    """
    ).policy
    assert (policy.merchant.time_zone, policy.merchant.currency) == ("Europe/Paris", "EUR")
    assert policy.merchant.entity == "FR"
    assert policy.happy_returns.lookups_per_run == 5
    assert policy.happy_returns.order_number_format == "#{reference}"
    assert policy.happy_returns.page_size == 10
    assert policy.happy_returns.fields["sku"] == "productSku"
    assert policy.happy_returns.fields["order_number"] == "orderNumber"
    assert policy.happy_returns.statuses["athub"] is Stage.DEPARTED
    assert policy.happy_returns.refund_types["giftcard"] is RefundType.STORE_CREDIT
    assert policy.linnworks.sources == ("SHOPIFY",)
    assert policy.linnworks.exchange_source == "SWAPS"
    assert policy.gate.refund_requires_approval
    assert policy.gate.refund_by_dropoff == {"returnbar": Stage.DROPPED_OFF}
    assert policy.unmapped == "quarantine"
    assert policy.codes["likenew"] is Disposition.SELLABLE
    assert policy.rules[Disposition.DAMAGED].location == "Bin room"
    assert policy.rules[Disposition.DAMAGED].effect is StockEffect.RESTOCK
    assert policy.refunds.executor is Executor.HAPPY_RETURNS
    assert policy.refunds.tolerance_minor == 0
    assert policy.refunds.gateways["klarna"] == "klarna"
    assert policy.refunds.gateways["*"] == "shopify_payments"
    assert policy.ages.refunded_not_received == (timedelta(days=10), timedelta(days=20))
    assert policy.breakers.max_units_per_run == 9
    assert not policy.finance.post_cost
    assert policy.finance.accounts["inventory.damaged"] == "1099"
    assert policy.schedules.sync == "*/10 6-22 * * mon-fri"
    assert policy.owners == {"STOCK_DRIFT": Owner.FINANCE}
    assert policy.sla[Severity.S1] == timedelta(minutes=30)


def test_a_packaged_row_is_taken_away_by_emptying_it(read: Load) -> None:
    policy = read(policy='[dispositions]\ngrade_a = ""\n').policy
    assert "gradea" not in policy.codes
    assert policy.codes["saleable"] is Disposition.SELLABLE


@pytest.mark.parametrize("spelled", ["tag_missing", "Tag-Missing", "TAG MISSING"])
def test_an_own_row_replaces_the_packaged_one_however_it_is_spelled(
    read: Load, spelled: str
) -> None:
    policy = read(policy=f'[dispositions]\n"{spelled}" = "REFURB"\n').policy
    assert policy.codes["tagmissing"] is Disposition.REFURB
    emptied = read(policy=f'[dispositions]\n"{spelled}" = ""\n').policy
    assert "tagmissing" not in emptied.codes


def test_two_spellings_of_one_code_in_one_file_contradict(problems: Problems) -> None:
    (problem,) = problems(
        policy='[dispositions]\ntag-missing = "SELLABLE"\ntag_missing = "DAMAGED"\n'
    )
    assert "[dispositions] tag_missing" in problem
    assert "tag-missing" in problem


# --- the hash ---------------------------------------------------------------------


def test_the_hash_is_of_the_rules_not_of_comments_or_order(read: Load) -> None:
    one = '[merchant]\nname = "A"\nentity = "UK"\n\n[ages]\norphan_young = "12h"\n'
    two = '# ours\n[ages]\norphan_young = "12h" # half a day\n[merchant]\nname = "A"\n'
    assert read(policy=one).policy.hash == read(policy=two).policy.hash
    assert read(policy="").policy.hash == read().policy.hash
    assert read(policy=one).policy.hash != read().policy.hash


@pytest.mark.parametrize(
    "text",
    [
        '[dispositions]\ndamaged = "REFURB"\n',
        "[refunds]\ntolerance_minor = 2\n",
        '[locations.DAMAGED]\nlocation = "Elsewhere"\n',
        '[finance.accounts]\nvat_output = "2201"\n',
    ],
)
def test_whatever_decides_is_in_the_hash(read: Load, text: str) -> None:
    assert read(policy=text).policy.hash != read().policy.hash


def test_the_canonical_form_is_what_is_hashed() -> None:
    document = packaged_policy()
    again = dict(reversed(list(document.items())))
    assert policy_body(document) == policy_body(again)
    assert policy_hash(document) == policy_hash(again)
    assert len(policy_hash(document)) == 64


# --- what is refused --------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place", "remedy"),
    [
        ('[merchant]\ntime_zone = "London"', "[merchant] time_zone", "Europe/London"),
        ('[merchant]\ntime_zone = "Europe"', "[merchant] time_zone", "Europe/London"),
        ('[merchant]\ntime_zone = "../etc"', "[merchant] time_zone", "Europe/London"),
        ('[merchant]\ncurrency = "gbp"', "[merchant] currency", "GBP"),
        ('[merchant]\ncurrency = "ABC"', "[merchant] currency", "GBP"),
        ('[merchant]\nentity = "GBR"', "[merchant] entity", "UK"),
        ('[merchant]\nentity = "é1"', "[merchant] entity", "UK"),
        ("[merchant]\nname = 3", "[merchant] name", "a text"),
        ("[happy_returns]\npage_size = 0", "[happy_returns] page_size", "from 1 to 1000"),
        ("[happy_returns]\npage_size = 1001", "[happy_returns] page_size", "from 1 to 1000"),
        ("[happy_returns]\npage_size = true", "[happy_returns] page_size", "from 1 to 1000"),
        ("[happy_returns]\nlookups_per_run = -1", "lookups_per_run", "0 or more"),
        ('[happy_returns]\norder_number_format = "#"', "order_number_format", "{reference}"),
        ('[happy_returns]\norder_number_format = "{ref}"', "order_number_format", "{reference}"),
        (
            '[happy_returns]\norder_number_format = "{reference}{x}"',
            "order_number_format",
            "{reference}",
        ),
        ('[happy_returns.fields]\nskuu = "sku"', "fields] skuu", "did you mean sku?"),
        ('[happy_returns.fields]\norder_number = ""', "fields] order_number", "missing"),
        ('[happy_returns.statuses]\nlost = "gone"', "statuses] lost", '"received"'),
        ('[happy_returns.refund_types]\ngift = "cash"', "refund_types] gift", '"store_credit"'),
        ("[linnworks]\npage_size = 201", "[linnworks] page_size", "from 1 to 200"),
        ('[linnworks]\nsources = "SHOPIFY"', "[linnworks] sources", "a list of texts"),
        ("[linnworks]\nsources = [1]", "[linnworks] sources", "a list of texts"),
        ('[linnworks]\nexchange_source = ""', "[linnworks] exchange_source", "a name"),
        ('[gate]\nstock = "approved"', "[gate] stock", '"received"'),
        ('[gate]\nrefund = "started"', "[gate] refund", "no evidence"),
        ('[gate]\nrefund = "cancelled"', "[gate] refund", "no evidence"),
        ('[gate]\nrefund = "initiated"', "[gate] refund", '"dropped_off"'),
        ('[gate]\nexchange = "expired"', "[gate] exchange", "no evidence"),
        ('[gate]\nreturnless = "never"', "[gate] returnless", '"approved"'),
        ('[gate]\nrefund_requires_approval = "yes"', "refund_requires_approval", "true or false"),
        (
            '[gate.refund_by_dropoff]\nmail = "started"',
            "[gate.refund_by_dropoff] mail",
            "no evidence",
        ),
        ('[disposition]\nunmapped = "sell"', "[disposition] unmapped", '"hold" or "quarantine"'),
        ('[dispositions]\nodd = "SALEABLE"', "[dispositions] odd", '"SELLABLE"'),
        ("[dispositions]\nodd = 1", "[dispositions] odd", "a text"),
        ('[locations.DAMAGED]\nstock = "sell"', "[locations.DAMAGED] stock", '"restock"'),
        ('[locations.DAMAGED]\nlocation = ""', "[locations.DAMAGED] location", "needs one"),
        ('[locations.DAMAGED]\nrefund = "no"', "[locations.DAMAGED] refund", '"allow" or "hold"'),
        ('[locations.DAMAGED]\nrole = ""', "[locations.DAMAGED] role", "ledger role"),
        (
            '[locations.DAMAGED]\nrole = "inventry.damaged"',
            "[locations.DAMAGED] role",
            "did you mean inventory?",
        ),
        ("[locations.RTV]\nsellable = true", "[locations.RTV] sellable", "SELLABLE_B"),
        (
            '[locations.DAMAGED]\nlocation = "HR Restock"',
            "[locations.DAMAGED]",
            "a location of its own",
        ),
        ('[locations.BROKEN]\nlocation = "X"', "[locations] BROKEN", "unknown key"),
        ('[refunds]\nexecutor = "shop"', "[refunds] executor", '"happy_returns"'),
        ('[refunds]\ntolerance_minor = "0.01"', "[refunds] tolerance_minor", "a whole number"),
        ("[refunds]\ntolerance_minor = 0.5", "[refunds] tolerance_minor", "a whole number"),
        ('[ages]\norphan_old = "a week"', "[ages] orphan_old", '"7d"'),
        ('[ages]\norphan_old = "²d"', "[ages] orphan_old", '"7d"'),
        ('[ages]\norphan_old = "9999999999d"', "[ages] orphan_old", '"7d"'),
        ("[ages]\norphan_old = 7", "[ages] orphan_old", '"7d"'),
        ('[ages]\norphan_old = "1h"', "[ages] orphan_old", "orphan_young"),
        ("[ages]\nrefunded_not_received = []", "refunded_not_received", "not an empty one"),
        ("[ages]\nrefunded_not_received = [7]", "refunded_not_received", "a list of durations"),
        ('[finance]\nclose_lag = "-2h"', "[finance] close_lag", '"48h"'),
        ("[finance.accounts]\nvat_output = 2200", "[finance.accounts] vat_output", "a text"),
        (
            '[finance.accounts]\nvat_outpt = "2200"',
            "[finance.accounts] vat_outpt",
            "did you mean vat_output?",
        ),
        ('[schedules]\nclose = "nightly"', "[schedules] close", "five fields"),
        ('[owners]\nSTOCK_DRIFTS = "CX"', "[owners] STOCK_DRIFTS", "did you mean STOCK_DRIFT?"),
        ('[owners]\nSTOCK_DRIFT = "Warehouse"', "[owners] STOCK_DRIFT", '"Operations"'),
        ('[sla]\nS1 = "now"', "[sla] S1", '"30m"'),
        ('[sla]\nS5 = "1d"', "[sla] S5", "unknown key"),
        ('[ages]\norphan_yung = "1d"', "[ages] orphan_yung", "did you mean orphan_young?"),
        ('[age]\norphan_young = "1d"', "[age]", "did you mean ages?"),
        ('dispositions = "none"', "[dispositions]", "a table is expected"),
        ('executor = "linnworks"', "[executor]", "unknown key"),
    ],
)
def test_a_wrong_entry_is_named_with_its_place_and_remedy(
    problems: Problems, text: str, place: str, remedy: str
) -> None:
    (problem,) = problems(policy=text)
    assert problem.startswith("policy [")
    assert place in problem
    assert remedy in problem


def test_every_problem_of_a_policy_is_told_at_once(problems: Problems) -> None:
    found = problems(
        policy="""
        [merchant]
        currency = "pounds"
        [gate]
        stock = "started"
        refund = "started"
        [dispositions]
        odd = "SALEABLE"
        [locations.DAMAGED]
        location = "HR Restock"
        [locations.DISPOSE]
        location = "HR B-Stock"
        [owners]
        NOBODY = "CX"
        [nonsense]
    """
    )
    assert len(found) == 8
    mixing = [problem for problem in found if "would mix" in problem]
    assert len(mixing) == 2
    assert any("[locations.SELLABLE]" in problem for problem in mixing)
    assert any("[locations.SELLABLE_B]" in problem for problem in mixing)


def test_what_the_program_needs_cannot_be_left_out() -> None:
    document = packaged_policy()
    del document["sla"]["S1"]
    del document["breakers"]
    found: list[str] = []
    assert parse_policy(document, found) is None
    assert [problem.partition(":")[0] for problem in found] == [
        "policy [breakers] max_units_per_run",
        "policy [breakers] max_units_per_sku",
        "policy [sla] S1",
    ]
