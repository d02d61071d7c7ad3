"""Settings from the environment: a mistake is an error that names the variable."""

from pathlib import Path

import pytest

from bandit.errors import SettingsError
from bandit.settings import Settings
from bandit.store.sql.database import Store


def test_without_variables_the_contracts_defaults_hold() -> None:
    assert Settings.from_environment({}) == Settings(
        database_url="sqlite:///sendopt.db",
        clock="system",
        worker_interval_seconds=10.0,
        promotion_interval_seconds=None,
        model_poll_seconds=2.0,
        data=None,
    )


def test_every_variable_is_read() -> None:
    read = Settings.from_environment(
        {
            "SENDOPT_DATABASE_URL": "postgresql://u:p@h/d",
            "SENDOPT_CLOCK": "request",
            "SENDOPT_WORKER_INTERVAL_SECONDS": "0.5",
            "SENDOPT_PROMOTION_INTERVAL_SECONDS": "3600",
            "SENDOPT_MODEL_POLL_SECONDS": "30",
            "SENDOPT_DATA": "logs",
        }
    )
    assert read == Settings(
        database_url="postgresql://u:p@h/d",
        clock="request",
        worker_interval_seconds=0.5,
        promotion_interval_seconds=3600.0,
        model_poll_seconds=30.0,
        data=Path("logs"),
    )


def test_variables_of_others_are_left_alone() -> None:
    assert Settings.from_environment({"PATH": "/bin", "OTHER_SENDOPT_CLOCK": "x", "sendopt_clock": "x"}) == Settings()


@pytest.mark.parametrize("name", ["SENDOPT_DATABASE", "SENDOPT_clock", "SENDOPT_", "SENDOPT_CLOCK_"])
def test_an_unknown_variable_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: is not a setting") as caught:
        Settings.from_environment({name: "request"})
    assert "SENDOPT_CLOCK" in str(caught.value)  # what would be right


@pytest.mark.parametrize("value", ["", "Request", "utc", " request"])
def test_a_clock_is_system_or_request(value: str) -> None:
    with pytest.raises(SettingsError, match=r"^SENDOPT_CLOCK: "):
        Settings.from_environment({"SENDOPT_CLOCK": value})


@pytest.mark.parametrize(
    "name",
    ["SENDOPT_WORKER_INTERVAL_SECONDS", "SENDOPT_PROMOTION_INTERVAL_SECONDS", "SENDOPT_MODEL_POLL_SECONDS"],
)
@pytest.mark.parametrize("value", ["", "ten", "10s", "0", "-1", "nan", "inf", "1e9", "0x10", "1,5"])
def test_seconds_are_a_number_within_a_day(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: {value!r} is not a number of seconds"):
        Settings.from_environment({name: value})


@pytest.mark.parametrize("value", ["", "nonsense", "mysql://h/d", "sqlite://", "sqlite:///:memory:"])
def test_a_malformed_database_url_is_an_error_that_names_its_variable(value: str) -> None:
    with pytest.raises(SettingsError, match=r"^SENDOPT_DATABASE_URL: "):
        Store(Settings.from_environment({"SENDOPT_DATABASE_URL": value}).database_url)


def test_a_folder_of_logs_must_have_a_name() -> None:
    with pytest.raises(SettingsError, match=r"^SENDOPT_DATA: "):
        Settings.from_environment({"SENDOPT_DATA": ""})
