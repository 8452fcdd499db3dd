import pytest
from pydantic import ValidationError

from pilothouse.settings import Settings


def test_the_environment_is_read() -> None:
    settings = Settings.from_environment(
        {"PILOTHOUSE_NAMESPACE": "ops", "PILOTHOUSE_WORKERS": "4", "HOME": "/"}
    )
    assert (settings.namespace, settings.workers) == ("ops", 4)


def test_what_kubernetes_sets_for_a_service_of_our_name_is_none_of_ours() -> None:
    Settings.from_environment(
        {"PILOTHOUSE_SERVICE_HOST": "10.0.0.1", "PILOTHOUSE_PORT": "tcp://10.0.0.1:8080"}
    )


def test_a_misspelled_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="workerz"):
        Settings.from_environment({"PILOTHOUSE_WORKERZ": "4"})


@pytest.mark.parametrize("endpoint", ["hub.example.com", "https://", "ftp://hub", "https://hub/?x=1"])
def test_a_hub_that_is_no_web_address_is_refused(endpoint: str) -> None:
    with pytest.raises(ValidationError, match="hub_endpoint"):
        Settings.from_environment({"PILOTHOUSE_HUB_ENDPOINT": endpoint})


def test_a_deadline_beyond_the_lease_is_refused() -> None:
    with pytest.raises(ValidationError, match="renew_deadline_seconds < lease_seconds"):
        Settings(renew_deadline_seconds=20)


def test_without_a_name_two_processes_of_one_host_differ() -> None:
    assert Settings().identity != Settings().identity
