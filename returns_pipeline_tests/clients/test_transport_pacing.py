"""Lanes, waits and page loops, by a clock that only moves when somebody waits."""

import pytest

from returns_pipeline.clients.transport import (
    Answer,
    Call,
    ContractBroken,
    Lane,
    Lanes,
    Pages,
    Patience,
    RateLimited,
    Told,
    Transport,
    Unavailable,
    per_minute,
    retry_after_header,
    same_host,
)
from returns_pipeline_tests.clients.conftest import Clock, StartWire
from returns_pipeline_tests.clients.wire import answer

GOOD = answer(200, b"{}")
FULL = answer(429, headers={"Retry-After": "20"})


def lane(interval: float, clock: Clock) -> Lane:
    return Lane(interval, sleep=clock.sleep, monotonic=clock.monotonic)


def make(
    url: str, clock: Clock, *, interval: float = 0.0, patience: Patience | None = None
) -> Transport:
    return Transport(
        url,
        allowed_hosts={"127.0.0.1"},
        patience=patience,
        sleep=clock.sleep,
        monotonic=clock.monotonic,
        lanes=Lanes(lambda _method: interval, sleep=clock.sleep, monotonic=clock.monotonic),
    )


def read(transport: Transport, method: str = "Ask") -> bytes:
    return transport.read(Call(method, "GET", "/", read=True), lambda found: found.content)


def write(transport: Transport, method: str = "Ask") -> bytes:
    return transport.write(Call(method, "POST", "/", body=b"{}"), lambda found: found.content)


# --- lanes ------------------------------------------------------------------------


def test_calls_leave_a_lane_evenly_spaced(clock: Clock) -> None:
    spaced = lane(0.5, clock)
    left = []
    for _ in range(5):
        spaced.wait()
        left.append(clock.now)
    assert left == [1000.0, 1000.5, 1001.0, 1001.5, 1002.0]


def test_time_spent_elsewhere_is_not_saved_up_for_a_burst(clock: Clock) -> None:
    spaced = lane(0.5, clock)
    spaced.wait()
    clock.now += 60
    spaced.wait()
    before = clock.now
    spaced.wait()
    assert clock.now == before + 0.5


def test_an_unpaced_lane_never_waits_unless_it_is_paused(clock: Clock) -> None:
    unpaced = lane(0.0, clock)
    for _ in range(100):
        unpaced.wait()
    assert clock.slept == []
    unpaced.pause(12)
    unpaced.wait()
    assert clock.slept == [12]


def test_who_waits_while_a_pause_comes_waits_for_its_end(clock: Clock) -> None:
    paused = lane(1.0, clock)
    paused.wait()
    plain_sleep = clock.sleep

    def sleep(seconds: float) -> None:
        plain_sleep(seconds)
        if len(clock.slept) == 1:
            paused.pause(30)  # another thread was told to wait meanwhile

    paused._sleep = sleep
    paused.wait()
    assert clock.now == 1000.0 + 1.0 + 30.0


def test_a_pause_longer_than_anyone_should_sleep_lets_nothing_pass_and_says_so(
    clock: Clock,
) -> None:
    paused = lane(1.0, clock)
    paused.pause(86_400)
    assert paused.wait(longest=300) == 86_400
    assert clock.slept == []
    clock.now += 86_400
    assert paused.wait(longest=300) == 0


def test_long_spacing_is_no_pause(clock: Clock) -> None:
    slow = lane(1000.0, clock)
    assert slow.wait(longest=300) == 0
    assert slow.wait(longest=300) == 0
    assert clock.slept == [1000.0]


def test_each_method_has_a_lane_of_its_own(wire: StartWire, clock: Clock) -> None:
    transport = make(wire(GOOD).url, clock, interval=10.0)
    read(transport, "A")
    read(transport, "B")
    assert clock.slept == []
    read(transport, "A")
    assert clock.slept == [10.0]


def test_requests_are_counted_by_method_retries_included(wire: StartWire, clock: Clock) -> None:
    transport = make(wire(answer(503), answer(503), GOOD).url, clock)
    read(transport, "Ask")
    write(transport, "Move")
    assert transport.lanes.calls == {"Ask": 3, "Move": 1}
    assert (transport.lanes.reads, transport.lanes.writes) == (3, 1)


def test_a_share_of_a_published_limit_becomes_a_spacing() -> None:
    spacing = per_minute({"A": 250}.get, 0.8)  # type: ignore[arg-type]
    assert spacing("A") == pytest.approx(0.3)
    assert per_minute(lambda _method: 150, 0)("A") == 0


# --- waiting as told --------------------------------------------------------------


def test_a_read_waits_as_long_as_it_is_told(wire: StartWire, clock: Clock) -> None:
    server = wire(FULL, FULL, GOOD)
    assert read(make(server.url, clock)) == b"{}"
    assert clock.now == 1040.0
    assert len(server.requests) == 3


def test_a_read_that_is_not_told_how_long_waits_a_minute(wire: StartWire, clock: Clock) -> None:
    assert read(make(wire(answer(429), GOOD).url, clock)) == b"{}"
    assert clock.now == 1060.0


def test_a_read_stops_waiting_when_its_budget_is_spent(wire: StartWire, clock: Clock) -> None:
    server = wire(FULL)
    with pytest.raises(Unavailable, match="over its limit"):
        read(make(server.url, clock, patience=Patience(budget=65.0)))
    assert clock.now == 1060.0
    assert len(server.requests) == 4


def test_a_read_is_told_to_wait_only_so_often(wire: StartWire, clock: Clock) -> None:
    server = wire(answer(429, headers={"Retry-After": "0"}))
    with pytest.raises(Unavailable):
        read(make(server.url, clock, patience=Patience(waits=5)))
    assert len(server.requests) == 6


def test_nobody_sleeps_for_a_day_on_a_vendors_word(wire: StartWire, clock: Clock) -> None:
    server = wire(answer(429, headers={"Retry-After": "86400"}), GOOD)
    transport = make(server.url, clock)
    for _ in range(3):
        with pytest.raises(Unavailable):
            read(transport)
    with pytest.raises(RateLimited) as caught:
        write(transport)
    assert caught.value.retry_after == 86_400
    assert clock.slept == []
    # What the vendor asked for is kept all the same: nothing more was sent.
    assert len(server.requests) == 1
    assert sum(transport.lanes.calls.values()) == 1


def test_a_write_that_is_limited_is_not_repeated_and_pauses_its_lane(
    wire: StartWire, clock: Clock
) -> None:
    server = wire(FULL, GOOD)
    transport = make(server.url, clock)
    with pytest.raises(RateLimited) as caught:
        write(transport)
    assert caught.value.retry_after == 20
    assert len(server.requests) == 1
    write(transport)
    assert clock.slept == [20]


def test_reads_back_off_and_are_bounded(wire: StartWire, clock: Clock) -> None:
    patience = Patience(attempts=6, backoff=1.0, longest_backoff=4.0)
    with pytest.raises(Unavailable):
        read(make(wire(answer(503)).url, clock, patience=patience))
    assert clock.slept == [1.0, 2.0, 4.0, 4.0, 4.0]


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "99999999999"}, None),
        ({}, None),
        (
            {
                "retry-after": "Wed, 21 Oct 2026 07:28:30 GMT",
                "date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            30.0,
        ),
        (
            {
                "retry-after": "Wed, 21 Oct 2026 07:27:00 GMT",
                "date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            0.0,
        ),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "today"}, None),
        # "-0000" makes a naive instant, which cannot be compared with an aware one.
        (
            {
                "retry-after": "Wed, 21 Oct 2026 07:28:30 -0000",
                "date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            None,
        ),
    ],
)
def test_retry_after_is_read_in_both_its_forms(headers: dict[str, str], wait: float | None) -> None:
    assert retry_after_header(Answer(429, headers, b"")) == wait


def test_the_body_says_better_than_the_header_how_long(wire: StartWire, clock: Clock) -> None:
    transport = Transport(
        wire(FULL, GOOD).url,
        allowed_hosts={"127.0.0.1"},
        recognise=lambda found: Told(over_limit=True, wait=3.0) if found.status == 429 else None,
        sleep=clock.sleep,
        monotonic=clock.monotonic,
    )
    read(transport)
    assert clock.now == 1003.0


# --- pages ------------------------------------------------------------------------


def test_a_page_mark_that_repeats_is_an_error() -> None:
    pages = Pages("Ask")
    assert [pages.turn(mark) for mark in "abc"] == ["a", "b", "c"]
    with pytest.raises(ContractBroken, match="repeats") as caught:
        pages.turn("b")
    assert caught.value.what == "its page cursor repeats"


def test_a_loop_of_ever_new_pages_ends() -> None:
    pages = Pages("Ask", most=3)
    for mark in "abc":
        pages.turn(mark)
    with pytest.raises(ContractBroken, match="more than 3 pages"):
        pages.turn("d")


@pytest.mark.parametrize(
    ("link", "stays"),
    [
        ("/next?page=2", True),
        ("next", True),
        ("https://Vendor.invalid/next", True),
        ("https://vendor.invalid:443/next", True),
        ("https://vendor.invalid:444/next", False),
        ("http://vendor.invalid/next", False),
        ("https://vendor.invalid.evil.invalid/next", False),
        ("//evil.invalid/next", False),
        ("https://vendor.invalid@evil.invalid/next", False),
        ("https://user@vendor.invalid/next", False),
        ("https://[bad/next", False),
        ("https://vendor.invalid:port/next", False),
        ("javascript:alert(1)", False),
    ],
)
def test_a_link_is_followed_only_on_the_same_host(link: str, *, stays: bool) -> None:
    assert (same_host("https://vendor.invalid", link) is not None) is stays
