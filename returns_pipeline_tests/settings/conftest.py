"""An environment a merchant could start with, and a policy file beside it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from returns_pipeline.settings import Settings, SettingsError, load

Load = Callable[..., Settings]
Problems = Callable[..., list[str]]

CREDENTIALS = {
    "HAPPY_RETURNS_API_KEY": "sekret-hr-key",
    "HAPPY_RETURNS_RETAILER_ID": "modern-retailer",
    "LINNWORKS_APPLICATION_ID": "sekret-app",
    "LINNWORKS_APPLICATION_SECRET": "sekret-app-secret",
    "LINNWORKS_TOKEN": "sekret-token",
}
SANDBOX = {
    "HAPPY_RETURNS_BASE_URL": "http://127.0.0.1:8801",
    "LINNWORKS_AUTH_URL": "http://127.0.0.1:8802",
}


@pytest.fixture
def policy_file(tmp_path: Path) -> Callable[[str], str]:
    """Writes a merchant's own policy and says where it is."""

    def write(text: str) -> str:
        path = tmp_path / "policy.toml"
        path.write_text(text, "utf-8")
        return str(path)

    return write


@pytest.fixture
def read(policy_file: Callable[[str], str]) -> Load:
    """Reads the settings: variables by name, ``policy`` the text of an own file."""

    def read_them(*, policy: str | None = None, vendors: bool = True, **env: str) -> Settings:
        own = {"RETURNS_POLICY": policy_file(policy)} if policy is not None else {}
        return load({**CREDENTIALS, **own, **env}, vendors=vendors)

    return read_them


@pytest.fixture
def problems(read: Load) -> Problems:
    """What is wrong with the settings; none where they can be used."""

    def find(**values: str) -> list[str]:
        try:
            read(**values)
        except SettingsError as error:
            return list(error.problems)
        return []

    return find
