"""Settings from the environment: a mistake is an error that names the variable."""

from pathlib import Path

import pytest

from bandit.errors import SettingsError
from bandit.settings import Settings
from bandit.store.sql.database import Store


def test_without_variables_the_contracts_defaults_hold() -> None:
    assert Settings.from_environment({}) == Settings(
        database_url="sqlite:///sendopt.db",
        host="127.0.0.1",
        port=8000,
        workers=1,
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
            "SENDOPT_HOST": "0.0.0.0",
            "SENDOPT_PORT": "8080",
            "SENDOPT_WORKERS": "4",
            "SENDOPT_CLOCK": "request",
            "SENDOPT_WORKER_INTERVAL_SECONDS": "0.5",
            "SENDOPT_PROMOTION_INTERVAL_SECONDS": "3600",
            "SENDOPT_MODEL_POLL_SECONDS": "30",
            "SENDOPT_DATA": "logs",
        }
    )
    assert read == Settings(
        database_url="postgresql://u:p@h/d",
        host="0.0.0.0",
        port=8080,
        workers=4,
        clock="request",
        worker_interval_seconds=0.5,
        promotion_interval_seconds=3600.0,
        model_poll_seconds=30.0,
        data=Path("logs"),
    )


def test_variables_of_others_are_left_alone() -> None:
    assert Settings.from_environment({"PATH": "/bin", "OTHER_SENDOPT_CLOCK": "x", "sendopt_clock": "x"}) == Settings()


def of_a_service(name: str) -> dict[str, str]:
    """What Kubernetes sets in a pod for a Service with two ports, one of them named."""
    address = f"{name}_PORT_8000_TCP"
    return {
        f"{name}_SERVICE_HOST": "10.0.0.7",
        f"{name}_SERVICE_PORT": "8000",
        f"{name}_SERVICE_PORT_HTTP": "8000",
        f"{name}_PORT": "tcp://10.0.0.7:8000",
        address: "tcp://10.0.0.7:8000",
        f"{address}_PROTO": "tcp",
        f"{address}_PORT": "8000",
        f"{address}_ADDR": "10.0.0.7",
        f"{name}_PORT_8001_UDP": "udp://10.0.0.7:8001",
    }


@pytest.mark.parametrize("name", ["SENDOPT", "SENDOPT_API", "SENDOPT_DB_2"])
def test_what_kubernetes_sets_for_a_service_is_left_alone(name: str) -> None:
    assert Settings.from_environment(of_a_service(name)) == Settings()
    assert Settings.from_environment({**of_a_service(name), "SENDOPT_PORT": "8080"}) == Settings(port=8080)


@pytest.mark.parametrize(
    ("name", "value", "most"),
    [
        *[("SENDOPT_PORT", value, 65_535) for value in ("", "0", "65536", "80a", "-1", "http://10.0.0.7:8000")],
        *[("SENDOPT_WORKERS", value, 64) for value in ("", "0", "65", "two", "1.0")],
    ],
)
def test_port_and_workers_are_whole_numbers(name: str, value: str, most: int) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: '{value}' is not a whole number from 1 to {most}$"):
        Settings.from_environment({name: value})


UNKNOWN = ["DATABASE", "clock", "", "CLOCK_", "SERVICE", "PORTS", "PORT_8000", "API_PORT"]


@pytest.mark.parametrize("name", [f"SENDOPT_{name}" for name in UNKNOWN])
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
