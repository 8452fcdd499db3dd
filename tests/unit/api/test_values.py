from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from pilothouse.api.tenantquota import Claim
from pilothouse.api.values import (
    Duration,
    Hostname,
    Image,
    LicenseID,
    Quantity,
    Revision,
    Scheme,
    Source,
    Timestamp,
    Url,
)

COMMIT = "c03e6d358207e414f1eca0bb1891e29f1db0e242"
DIGEST = "sha256:" + "7e" * 32


def _read(kind: Any, value: object) -> Any:
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("2m", 120), ("1h30m", 5400), ("400ms", 0.4), ("0s", 0), ("1m1ms", 60.001)],
)
def test_a_duration_is_written_as_the_gateway_api_does(text: str, seconds: float) -> None:
    assert _read(Duration, text).seconds == pytest.approx(seconds)


@given(st.integers(0, 99999), st.sampled_from(["h", "m", "s", "ms"]))
def test_every_duration_that_is_read_has_seconds(number: int, unit: str) -> None:
    assert _read(Duration, f"{number}{unit}").seconds >= number * 0.001


@pytest.mark.parametrize("text", ["", "30", "s", "1d", "-5s", "1.5h", " 30s", "30s\n", 30, None])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValidationError, match="must be a duration such as"):
        _read(Duration, text)


def test_a_hub_source_has_owner_and_name() -> None:
    source = _read(Source, "hf://Qwen/Qwen2.5-Coder-7B-Instruct")

    assert (source.scheme, source.location) == (Scheme.HF, "Qwen/Qwen2.5-Coder-7B-Instruct")


def test_a_claim_source_has_claim_and_path() -> None:
    source = _read(Source, "pvc://models/qwen/2.5")

    assert (source.scheme, source.claim, source.path) == (Scheme.PVC, "models", "qwen/2.5")


def test_an_image_source_may_have_a_port() -> None:
    source = _read(Source, "oci://registry.example.com:5000/models/qwen")

    assert (source.scheme, source.location) == (Scheme.OCI, "registry.example.com:5000/models/qwen")


@pytest.mark.parametrize(
    "text",
    [
        "gpt2",
        "hf://gpt2",
        "hf://a/b/c",
        "s3://a/b",
        "pvc://models",
        "pvc://models/../x",
        "pvc://models/a//b",
        "oci://a/b:1",
    ],
)
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="must be hf://owner/name"):
        _read(Source, text)


def test_an_amount_is_the_same_as_number_and_as_text() -> None:
    assert _read(Quantity, 4) == _read(Quantity, "4") == "4"


@pytest.mark.parametrize("amount", [True, 1.5, "32GB", "-1", "1e3", ""])
def test_what_is_no_amount_is_refused(amount: object) -> None:
    with pytest.raises(ValidationError, match="must be a quantity such as"):
        _read(Quantity, amount)


@pytest.mark.parametrize("text", [COMMIT, DIGEST])
def test_a_revision_is_a_commit_or_a_digest(text: str) -> None:
    assert _read(Revision, text) == text


@pytest.mark.parametrize("text", ["main", "v1.0", COMMIT[:7], COMMIT.upper(), DIGEST[7:], DIGEST + "0"])
def test_what_pins_nothing_is_no_revision(text: str) -> None:
    with pytest.raises(ValidationError, match="a branch or tag pins nothing"):
        _read(Revision, text)


@pytest.mark.parametrize(
    "text",
    [
        "Apache-2.0",
        "GPL-2.0+",
        "LicenseRef-DeepSeek",
        "MIT OR Apache-2.0",
        "(MIT OR Apache-2.0) AND BSD-3-Clause",
        "GPL-2.0-only WITH Classpath-exception-2.0",
        "DocumentRef-spdx.tool:LicenseRef-x",
    ],
)
def test_a_license_is_an_spdx_id_or_expression(text: str) -> None:
    assert _read(LicenseID, text) == text


@pytest.mark.parametrize(
    "text", ["", "Apache License 2.0", "MIT or Apache-2.0", "MIT OR", "OR MIT OR", "MIT/Apache-2.0"]
)
def test_a_title_is_no_license_id(text: str) -> None:
    with pytest.raises(ValidationError, match="must be an SPDX id"):
        _read(LicenseID, text)


@pytest.mark.parametrize(
    "text",
    [
        "vllm/vllm-openai:v0.32.0",
        "registry.example.com:5000/team/vllm:0.32.0-cpu",
        f"ghcr.io/acme/vllm@{DIGEST}",
        f"ghcr.io/acme/vllm:v0.32.0@{DIGEST}",
        "vllm",
    ],
)
def test_an_image_is_what_a_kubelet_pulls(text: str) -> None:
    assert _read(Image, text) == text


@pytest.mark.parametrize("text", ["models.example.com", "*.example.com", "localhost"])
def test_a_host_name_may_begin_with_a_wildcard(text: str) -> None:
    assert _read(Hostname, text) == text


@pytest.mark.parametrize("text", ["http://me:secret@host", "ftp://host", "http://host?x=1", "host"])
def test_an_address_with_a_password_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="without credentials"):
        _read(Url, text)


@pytest.mark.parametrize("port", ["0", "65536", "99999", "0443", "123456"])
def test_a_port_that_there_is_not_is_refused(port: str) -> None:
    with pytest.raises(ValidationError, match="port"):
        _read(Url, f"https://host:{port}/keys")


@given(st.integers(1, 65535))
def test_every_port_that_there_is_is_read(port: int) -> None:
    assert _read(Url, f"https://host:{port}") == f"https://host:{port}"


@pytest.mark.parametrize("path", ["/%", "/%zz", "/keys%2"])
def test_a_path_that_no_url_can_have_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="must be an http or https URL"):
        _read(Url, f"https://host{path}")


@pytest.mark.parametrize("name", [".team", "team.", "org..team", ""])
def test_a_claim_is_named_by_names_between_dots(name: str) -> None:
    with pytest.raises(ValidationError, match="claim"):
        _read(Claim, name)


def test_a_moment_is_written_in_utc_and_whole_seconds() -> None:
    adapter = TypeAdapter(Timestamp)

    assert (
        adapter.dump_python(_read(Timestamp, "2027-06-30T02:00:00.5+02:00"), mode="json")
        == "2027-06-30T00:00:00Z"
    )


def test_a_moment_without_time_zone_is_refused() -> None:
    with pytest.raises(ValidationError):
        _read(Timestamp, "2027-06-30T00:00:00")
