"""What counts of a code and of an order number, and what does not."""

import pytest

from returns_pipeline.domain.policy import fold, order_key


@pytest.mark.parametrize("code", ["tag-missing", "Tag Missing", "TAG_MISSING", "tag\tmissing"])
def test_case_blanks_and_joints_of_a_code_do_not_count(code: str) -> None:
    assert fold(code) == "tagmissing"


@pytest.mark.parametrize("number", ["#1001A", "1001a", " # 1001 A ", "##1001A"])
def test_a_leading_hash_blanks_and_case_of_an_order_number_do_not_count(number: str) -> None:
    assert order_key(number) == "1001a"


def test_what_stands_inside_an_order_number_counts() -> None:
    assert len({order_key(number) for number in ("10-01", "1001", "10#01", "01001")}) == 4
