import base64

import pytest

from fake_kube import FakeKube
from pilothouse.act.secrets import Secrets
from pilothouse.errors import NotFound, Terminal
from pilothouse.plan.observed import Object, ObjectKey


def secret(**data: bytes) -> Object:
    """The Secret `prometheus` in the operator's namespace."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "prometheus", "namespace": "pilothouse-system"},
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


async def test_the_token_is_read_without_the_line_end_that_editors_leave() -> None:
    assert (
        await Secrets(FakeKube(secret(token=b"s3cret\n")), "pilothouse-system").token("prometheus")
        == "s3cret"
    )


async def test_the_token_is_not_read_for_each_question() -> None:
    kube = FakeKube(secret(token=b"s3cret"))
    secrets = Secrets(kube, "pilothouse-system")
    assert [await secrets.token("prometheus") for _ in range(3)] == ["s3cret"] * 3
    assert kube.requests == [("get", ObjectKey("Secret", "pilothouse-system", "prometheus"))]


@pytest.mark.parametrize("data", [{}, {"password": b"s3cret"}, {"token": b""}, {"token": b"\xff\xfe"}])
async def test_a_secret_without_a_token_says_so_and_shows_nothing(data: dict[str, bytes]) -> None:
    with pytest.raises(Terminal, match="Secret prometheus") as raised:
        await Secrets(FakeKube(secret(**data)), "pilothouse-system").token("prometheus")
    assert "s3cret" not in str(raised.value)


async def test_a_secret_that_is_missing_is_not_remembered_as_missing() -> None:
    kube = FakeKube()
    secrets = Secrets(kube, "pilothouse-system")
    with pytest.raises(NotFound):
        await secrets.token("prometheus")
    kube.put(secret(token=b"s3cret"))
    assert await secrets.token("prometheus") == "s3cret"
