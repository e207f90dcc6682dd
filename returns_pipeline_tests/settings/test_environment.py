"""The settings table of the interface: each name honoured, each bad value with its remedy."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from returns_pipeline.settings import (
    PROJECT,
    Mode,
    SettingsError,
    database_url,
    default_database_url,
    is_loopback,
    load,
)
from returns_pipeline_tests.settings.conftest import CREDENTIALS, SANDBOX, Load, Problems

EXECUTOR = '[refunds]\nexecutor = "linnworks"\n'


# --- defaults and values ----------------------------------------------------------


def test_with_credentials_alone_the_program_watches_and_posts_nothing(read: Load) -> None:
    found = read()
    assert found.mode is Mode.SHADOW
    assert found.database_url == default_database_url()
    assert found.policy_source == "packaged"
    assert found.settle == timedelta(seconds=1800)
    assert found.now is None
    assert found.happy_returns is not None
    assert found.happy_returns.base_url == "https://partner.happyreturns.com"
    assert found.happy_returns.rate == 0.5
    assert found.linnworks is not None
    assert found.linnworks.auth_url == "https://api.linnworks.net"
    assert found.linnworks.v2_url is None
    assert found.linnworks.rate_share == 0.95
    assert found.webhook_secret is None


def test_every_setting_is_honoured(read: Load) -> None:
    found = read(
        RETURNS_DATABASE_URL="postgresql+psycopg://db/returns",
        RETURNS_MODE="live",
        RETURNS_SETTLE_SECONDS="60",
        RETURNS_LINNWORKS_RATE_SHARE="0.5",
        RETURNS_HAPPY_RETURNS_RATE="0.25",
        RETURNS_ALERT_WEBHOOK_URL="https://alerts.example/a",
        RETURNS_ALERT_SLACK_WEBHOOK_URL="https://slack.example/b",
        RETURNS_ALERT_TEAMS_WEBHOOK_URL="https://teams.example/c",
        RETURNS_ALERT_SMTP_URL="smtps://mail.example:465",
        RETURNS_ALERT_EMAIL_TO="ops@merchant.example",
        HAPPY_RETURNS_BASE_URL="https://partner-stage.example/",
        HAPPY_RETURNS_WEBHOOK_SECRET="hook",
        LINNWORKS_AUTH_URL="https://auth.example",
        LINNWORKS_V2_URL="https://v2.example/",
        policy=EXECUTOR,
    )
    assert found.database_url == "postgresql+psycopg://db/returns"
    assert found.mode is Mode.LIVE
    assert found.settle == timedelta(minutes=1)
    assert found.happy_returns is not None
    assert found.happy_returns.base_url == "https://partner-stage.example"
    assert found.happy_returns.api_key == "sekret-hr-key"
    assert found.happy_returns.retailer_id == "modern-retailer"
    assert found.happy_returns.rate == 0.25
    assert found.linnworks is not None
    assert found.linnworks.auth_url == "https://auth.example"
    assert found.linnworks.v2_url == "https://v2.example"
    assert found.linnworks.rate_share == 0.5
    assert (
        found.linnworks.application_id,
        found.linnworks.application_secret,
        found.linnworks.token,
    ) == ("sekret-app", "sekret-app-secret", "sekret-token")
    assert found.alerts.webhook_url == "https://alerts.example/a"
    assert found.alerts.slack_url == "https://slack.example/b"
    assert found.alerts.teams_url == "https://teams.example/c"
    assert found.alerts.smtp_url == "smtps://mail.example:465"
    assert found.alerts.email_to == "ops@merchant.example"
    assert found.webhook_secret == "hook"


def test_an_empty_variable_is_one_that_is_not_set(read: Load) -> None:
    empty = dict.fromkeys(
        ["RETURNS_MODE", "RETURNS_NOW", "RETURNS_POLICY", "RETURNS_DATABASE_URL"], ""
    )
    assert read(**empty, LINNWORKS_V2_URL=" ") == read()


def test_a_value_pasted_with_its_line_break_is_the_value(read: Load) -> None:
    found = read(HAPPY_RETURNS_API_KEY="key\n")
    assert found.happy_returns is not None
    assert found.happy_returns.api_key == "key"


def test_pacing_may_be_switched_off(read: Load) -> None:
    found = read(RETURNS_LINNWORKS_RATE_SHARE="0", RETURNS_HAPPY_RETURNS_RATE="0")
    assert found.linnworks is not None
    assert found.happy_returns is not None
    assert (found.linnworks.rate_share, found.happy_returns.rate) == (0, 0)


def test_the_process_environment_is_read_where_none_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RETURNS_POLICY", raising=False)
    monkeypatch.setenv("RETURNS_MODE", "shadow")
    monkeypatch.setenv("RETURNS_SETTLE_SECONDS", "7")
    assert load().settle == timedelta(seconds=7)


# --- the database -----------------------------------------------------------------


def test_the_database_is_a_file_under_data_unless_told_otherwise() -> None:
    assert database_url({}) == f"sqlite:///{PROJECT / 'data' / 'returns.sqlite'}"
    assert (PROJECT / "pyproject.toml").is_file()


@pytest.mark.parametrize("prefix", ["postgres://", "postgresql://", "postgresql+psycopg://"])
def test_every_spelling_of_postgresql_means_the_driver_that_ships(prefix: str) -> None:
    found = database_url({"RETURNS_DATABASE_URL": f"{prefix}u:p@db:5432/returns"})
    assert found == "postgresql+psycopg://u:p@db:5432/returns"


@pytest.mark.parametrize(
    "url", ["mysql://u:hunter2@db/x", "returns.sqlite", "postgresql+pg8000://d"]
)
def test_another_database_is_refused_without_printing_its_password(
    problems: Problems, url: str
) -> None:
    (problem,) = problems(RETURNS_DATABASE_URL=url)
    assert problem.startswith("RETURNS_DATABASE_URL")
    assert "sqlite:///" in problem
    assert "hunter2" not in problem


# --- bad values -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("RETURNS_MODE", "LIVE!", '"shadow", "live"'),
        ("RETURNS_SETTLE_SECONDS", "soon", "a number from 0"),
        ("RETURNS_SETTLE_SECONDS", "-1", "a number from 0"),
        ("RETURNS_SETTLE_SECONDS", "nan", "a number from 0"),
        ("RETURNS_SETTLE_SECONDS", "1e300", "a number from 0"),
        ("RETURNS_LINNWORKS_RATE_SHARE", "1.1", "from 0 to 1"),
        ("RETURNS_HAPPY_RETURNS_RATE", "inf", "a number from 0"),
        ("RETURNS_NOW", "yesterday", "2026-03-14T22:10:00Z"),
        ("RETURNS_NOW", "2026-03-14", "2026-03-14T22:10:00Z"),
        ("RETURNS_NOW", "2026-03-14T22:10:00", "with its offset"),
        ("HAPPY_RETURNS_BASE_URL", "partner.example", "not an http(s) URL"),
        ("HAPPY_RETURNS_BASE_URL", "ftp://partner.example", "not an http(s) URL"),
        ("HAPPY_RETURNS_BASE_URL", "https://[::1", "not an http(s) URL"),
        ("HAPPY_RETURNS_BASE_URL", "https://partner.example:port", "not an http(s) URL"),
        ("HAPPY_RETURNS_BASE_URL", "http://partner.example", "must be https"),
        ("LINNWORKS_AUTH_URL", "http://127.evil.example", "must be https"),
        ("LINNWORKS_AUTH_URL", "http://localhost.evil.example", "must be https"),
        ("LINNWORKS_V2_URL", "http://10.0.0.1", "must be https"),
        ("RETURNS_ALERT_WEBHOOK_URL", "http://alerts.example", "must be https"),
        ("RETURNS_ALERT_SLACK_WEBHOOK_URL", "slack", "not an http(s) URL"),
        ("RETURNS_ALERT_TEAMS_WEBHOOK_URL", "teams", "not an http(s) URL"),
        ("RETURNS_POLICY", "/no/such/policy.toml", "Name a policy file"),
    ],
)
def test_a_bad_value_names_itself_and_the_remedy(
    problems: Problems, name: str, value: str, remedy: str
) -> None:
    (problem,) = problems(**{name: value})
    assert problem.startswith(name)
    assert remedy in problem


@pytest.mark.parametrize("name", CREDENTIALS)
@pytest.mark.parametrize("value", ["", "  "])
def test_a_missing_credential_is_named_with_the_way_to_the_sandbox(
    problems: Problems, name: str, value: str
) -> None:
    (problem,) = problems(**{name: value})
    assert problem.startswith(f"{name}: not set")
    assert "returns-pipeline sandbox" in problem


def test_work_that_asks_no_vendor_needs_no_credentials() -> None:
    found = load({}, vendors=False)
    assert (found.happy_returns, found.linnworks) == (None, None)
    with pytest.raises(SettingsError) as refused:
        load({})
    assert len(refused.value.problems) == len(CREDENTIALS)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"RETURNS_ALERT_SMTP_URL": "smtp://mail.example"}, "RETURNS_ALERT_EMAIL_TO"),
        ({"RETURNS_ALERT_EMAIL_TO": "ops@merchant.example"}, "RETURNS_ALERT_SMTP_URL"),
    ],
)
def test_alerts_by_e_mail_take_a_server_and_an_address(
    problems: Problems, values: dict[str, str], named: str
) -> None:
    (problem,) = problems(**values)
    assert problem.startswith(named)
    both = {
        "RETURNS_ALERT_SMTP_URL": "mail.example",
        "RETURNS_ALERT_EMAIL_TO": "ops@merchant.example",
    }
    (wrong,) = problems(**both)
    assert "smtp://" in wrong


def test_a_vendors_url_holds_no_password_that_could_be_printed(problems: Problems) -> None:
    (problem,) = problems(HAPPY_RETURNS_BASE_URL="https://user:hunter2@partner.example")
    assert problem.startswith("HAPPY_RETURNS_BASE_URL")
    assert "hunter2" not in problem


def test_all_problems_are_told_at_once(problems: Problems) -> None:
    found = problems(
        RETURNS_MODE="live",
        RETURNS_DATABASE_URL="oracle://x",
        RETURNS_NOW="noon",
        RETURNS_SETTLE_SECONDS="soon",
        RETURNS_LINNWORKS_RATE_SHARE="2",
        HAPPY_RETURNS_BASE_URL="http://partner.example",
        LINNWORKS_TOKEN="",
        policy="""
            [gate]
            stock = "approved"
            [locations.DAMAGED]
            location = "HR Restock"
            [agez]
            orphan_old = "1d"
        """,
    )
    for part in (
        "RETURNS_DATABASE_URL",
        "RETURNS_NOW",
        "RETURNS_SETTLE_SECONDS",
        "RETURNS_LINNWORKS_RATE_SHARE",
        "HAPPY_RETURNS_BASE_URL",
        "LINNWORKS_TOKEN",
        "[refunds] executor",
        "[gate] stock",
        "[locations.DAMAGED]",
        "[agez]",
    ):
        assert any(part in problem for problem in found), part
    assert len(found) == 10


# --- live mode --------------------------------------------------------------------


def test_live_mode_without_a_declared_executor_is_refused(problems: Problems) -> None:
    (problem,) = problems(RETURNS_MODE="live")
    assert "[refunds] executor" in problem
    assert '"linnworks"' in problem
    assert '"happy_returns"' in problem
    assert problems(RETURNS_MODE="shadow") == []
    assert problems(RETURNS_MODE="live", policy=EXECUTOR) == []


def test_a_set_clock_is_refused_in_live_mode(problems: Problems) -> None:
    clock = {"RETURNS_NOW": "2026-03-14T22:10:00Z", "policy": EXECUTOR}
    (problem,) = problems(RETURNS_MODE="live", **clock)
    assert problem.startswith("RETURNS_NOW")
    assert problems(RETURNS_MODE="shadow", **clock) == []
    assert problems(RETURNS_MODE="live", **clock, **SANDBOX) == []


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"HAPPY_RETURNS_BASE_URL": "https://partner.happyreturns.com"},
        {"LINNWORKS_AUTH_URL": "https://127.evil.example"},
        {"LINNWORKS_AUTH_URL": "https://localhost.evil.example"},
        {"LINNWORKS_V2_URL": "https://eu-api.linnworks.net"},
        {"HAPPY_RETURNS_BASE_URL": "https://127.0.0.1.evil.example"},
        {"HAPPY_RETURNS_BASE_URL": "https://evil.example/127.0.0.1"},
    ],
)
def test_one_vendor_elsewhere_is_enough_to_refuse_a_set_clock(
    problems: Problems, elsewhere: dict[str, str]
) -> None:
    found = problems(
        RETURNS_MODE="live",
        RETURNS_NOW="2026-03-14T22:10:00Z",
        policy=EXECUTOR,
        **{**SANDBOX, **elsewhere},
    )
    assert [problem.partition(":")[0] for problem in found] == ["RETURNS_NOW"]


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8801", True),
        ("http://localhost", True),
        ("http://LOCALHOST:1/x", True),
        ("http://[::1]:8801", True),
        ("http://127.evil.example", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://localhost.evil.example", False),
        ("http://localhost@evil.example", False),
        ("http://evil.example/#localhost", False),
        ("http://[::1", False),
        ("127.0.0.1", False),
        ("", False),
    ],
)
def test_a_look_alike_is_not_this_machine(url: str, *, here: bool) -> None:
    assert is_loopback(url) is here


# --- the clock --------------------------------------------------------------------


def test_the_set_clock_stands_still_and_is_utc(read: Load) -> None:
    found = read(RETURNS_NOW="2026-03-14T22:10:00+01:00")
    assert found.clock() == datetime(2026, 3, 14, 21, 10, tzinfo=UTC)
    assert found.clock().tzinfo is UTC


def test_without_one_the_clock_is_the_time_of_day(read: Load) -> None:
    before = datetime.now(UTC)  # noqa: TID251 - the clock itself is what is tested
    assert timedelta() <= read().clock() - before < timedelta(minutes=1)


# --- secrets ----------------------------------------------------------------------


def test_no_secret_is_printed_with_the_settings(read: Load) -> None:
    found = read(
        RETURNS_DATABASE_URL="postgresql://returns:sekret-db@db/returns",
        HAPPY_RETURNS_WEBHOOK_SECRET="sekret-hook",
        RETURNS_ALERT_SLACK_WEBHOOK_URL="https://slack.example/sekret-path",
        RETURNS_ALERT_WEBHOOK_URL="https://alerts.example/sekret-path",
        RETURNS_ALERT_TEAMS_WEBHOOK_URL="https://teams.example/sekret-path",
        RETURNS_ALERT_SMTP_URL="smtps://u:sekret-mail@mail.example",
        RETURNS_ALERT_EMAIL_TO="sekret@merchant.example",
    )
    for text in (repr(found), str(found), f"{found}", repr(found.linnworks), str(found.alerts)):
        assert "sekret" not in text


def test_no_secret_is_printed_with_a_problem(problems: Problems) -> None:
    found = problems(
        RETURNS_MODE="nonsense",
        RETURNS_DATABASE_URL="mysql://u:sekret-db@db/x",
        RETURNS_ALERT_SLACK_WEBHOOK_URL="http://slack.example/sekret-path",
        RETURNS_ALERT_SMTP_URL="u:sekret-mail@mail.example",
        HAPPY_RETURNS_BASE_URL="https://u:sekret@partner.example",
        LINNWORKS_TOKEN="",
    )
    assert len(found) == 7
    assert "sekret" not in "\n".join(found)
    assert "sekret" not in str(SettingsError(found))


def test_an_error_lists_its_problems_one_a_line() -> None:
    error = SettingsError(["first", "second"])
    assert error.problems == ("first", "second")
    assert str(error) == "- first\n- second"


def test_a_policy_that_is_a_folder_or_no_text_is_named(
    problems: Problems, tmp_path: Path, policy_file: Callable[[str], str]
) -> None:
    (folder,) = problems(RETURNS_POLICY=str(tmp_path))
    assert folder.startswith("RETURNS_POLICY: cannot read")
    (no_toml,) = problems(RETURNS_POLICY=policy_file("executor linnworks"))
    assert "is not TOML" in no_toml
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    (no_text,) = problems(RETURNS_POLICY=str(binary))
    assert "is not TOML" in no_text
