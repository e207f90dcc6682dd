"""Linnworks' sessions and limits in the sandbox."""

import pytest
import requests

from returns_pipeline.sandbox import linnworks
from returns_pipeline_tests.sandbox.calling import LinnworksCaller
from returns_pipeline_tests.sandbox.conftest import Open

LOCATIONS = "/api/Inventory/GetStockLocations"


def test_later_calls_go_to_the_server_that_the_session_names(open_case: Open) -> None:
    sandbox = open_case("received_saleable")

    session = LinnworksCaller(sandbox).authorise()

    assert session["Server"] == sandbox.linnworks_server.url


def test_wrong_credentials_are_400(open_case: Open) -> None:
    url = open_case("received_saleable").linnworks_server.url
    body = {
        "ApplicationId": linnworks.APPLICATION_ID,
        "ApplicationSecret": linnworks.APPLICATION_SECRET,
        "Token": linnworks.APPLICATION_ID,
    }

    answer = requests.post(f"{url}/api/Auth/AuthorizeByApplication", json=body, timeout=10)

    assert answer.status_code == 400


def test_a_session_expires_and_a_new_one_goes_on(open_case: Open) -> None:
    sandbox = open_case("received_saleable")
    caller = LinnworksCaller(sandbox)
    sandbox.linnworks.expire_sessions()

    assert caller.send("GET", LOCATIONS).status_code == 401
    assert caller.send("GET", "/v2/orders").status_code == 401
    caller.authorise()
    assert caller.send("GET", LOCATIONS).status_code == 200


def test_a_bearer_prefix_is_no_session(open_case: Open) -> None:
    caller = LinnworksCaller(open_case("received_saleable"))
    caller.http.headers["Authorization"] = f"Bearer {caller.http.headers['Authorization']}"

    assert caller.send("GET", LOCATIONS).status_code == 401


@pytest.mark.parametrize(
    ("path", "most"),
    [
        (LOCATIONS, 150),
        ("/api/Orders/GetOrderDetailsByReferenceId", 250),
        ("/v2/orders", 260),
    ],
)
def test_a_method_has_its_own_calls_a_minute(open_case: Open, path: str, most: int) -> None:
    caller = LinnworksCaller(open_case("received_saleable", limits=True))

    codes = [caller.send("GET", path).status_code for _ in range(260)]

    assert codes == [200] * most + [429] * (260 - most)


def test_over_the_limit_the_quota_is_named(open_case: Open) -> None:
    caller = LinnworksCaller(open_case("received_saleable", limits=True))
    for _ in range(150):
        caller.send("GET", LOCATIONS)

    answer = caller.send("GET", LOCATIONS)

    assert "Maximum admitted 150 per Minute" in answer.json()["Message"]
    assert answer.headers["Retry-After"] == "60"


def test_an_unknown_method_is_404(open_case: Open) -> None:
    caller = LinnworksCaller(open_case("received_saleable"))

    assert caller.send("POST", "/api/Returns/CreateReturn", json={}).status_code == 404
