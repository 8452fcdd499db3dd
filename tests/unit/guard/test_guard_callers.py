"""Who may call: known tenants, by names that only a gateway can set."""

from collections.abc import Callable

import pytest

from pilothouse import names
from pilothouse.guard import pilothouse_guard
from unit.guard.standin import Client, Setup

Guarded = Callable[..., Setup]
KNOWN = {"callers": "Known", "tenants": {"team-ide": {}, "team-data": {}}}
GATEWAY = {"x-forwarded-for": "10.1.2.3"}


async def refused(setup: Setup, headers: dict[str, str]) -> tuple[int | None, str]:
    """Ask, and tell how it was refused; the engine has not heard of it."""
    answer = await setup.complete(headers=headers)
    assert setup.engine.bodies == []
    assert setup.line["finish"] == f"rejected:{answer.error['code']}"
    return answer.status, answer.error["code"]


async def test_everybody_is_served_where_no_callers_are_known(guarded: Guarded) -> None:
    setup = guarded()
    assert (await setup.complete()).status == 200
    assert (await setup.complete(headers={"x-pilothouse-tenant": "any"})).status == 200


@pytest.mark.parametrize("tenant", KNOWN["tenants"])
async def test_a_known_tenant_is_served(guarded: Guarded, tenant: str) -> None:
    setup = guarded(**KNOWN)
    assert (await setup.complete(headers=GATEWAY | {"x-pilothouse-tenant": tenant})).status == 200
    assert setup.line["tenant"] == tenant


async def test_who_has_no_name_is_asked_for_one(guarded: Guarded) -> None:
    assert await refused(guarded(**KNOWN), GATEWAY) == (401, "caller_unknown")


async def test_another_tenant_is_turned_away(guarded: Guarded) -> None:
    headers = {"x-pilothouse-tenant": "team-edge"}
    assert await refused(guarded(**KNOWN), headers) == (403, "tenant_not_allowed")


async def test_a_user_alone_is_nobody(guarded: Guarded) -> None:
    assert await refused(guarded(**KNOWN), {"x-pilothouse-user": "team-ide.ada"}) == (401, "caller_unknown")


async def test_a_refusal_is_in_the_form_of_openai_and_carries_the_pins(guarded: Guarded) -> None:
    answer = await guarded(**KNOWN).complete()
    assert answer.error["type"] == "authentication_error"
    assert answer.headers["x-model-revision"] == "c0ffee"
    answer = await guarded(**KNOWN).complete(headers={"x-pilothouse-tenant": "team-edge"})
    assert answer.error["type"] == "permission_error"


async def test_who_may_not_call_is_refused_before_the_body_is_read(guarded: Guarded) -> None:
    class Silent(Client):
        async def receive(self) -> dict[str, object]:
            raise AssertionError("the body was read")

    assert (await guarded(**KNOWN).serve(Silent({}))).status == 401


async def test_with_no_tenant_known_nobody_is_served(guarded: Guarded) -> None:
    headers = {"x-pilothouse-tenant": "team-ide"}
    assert await refused(guarded(callers="Known"), headers) == (403, "tenant_not_allowed")


# One name for both.


@pytest.mark.parametrize(
    ("client", "tenant", "user"),
    [
        ("team-ide.ada", "team-ide", "ada"),
        ("team-ide.ada.l", "team-ide", "ada.l"),
        ("team-ide", "team-ide", None),
    ],
)
async def test_the_name_of_a_key_is_a_tenant_and_a_user(
    guarded: Guarded, client: str, tenant: str, user: str | None
) -> None:
    setup = guarded(**KNOWN)
    assert (await setup.complete(headers={"x-pilothouse-client": client})).status == 200
    assert (setup.line["tenant"], setup.line["user"]) == (tenant, user)


@pytest.mark.parametrize("client", ["team-ides.ada", "team.ide.ada", "TEAM-IDE.ada", "data.team-ide", ".ada"])
async def test_a_key_of_another_tenant_opens_nothing(guarded: Guarded, client: str) -> None:
    status, _ = await refused(guarded(**KNOWN), {"x-pilothouse-client": client})
    assert status in (401, 403)


@pytest.mark.parametrize("forged", ["x-pilothouse-tenant", "x-pilothouse-user"])
async def test_a_name_of_ones_own_beside_the_gateways_is_refused(guarded: Guarded, forged: str) -> None:
    headers = {"x-pilothouse-client": "team-data.eve", forged: "team-ide"}
    assert await refused(guarded(**KNOWN), headers) == (400, "ambiguous_caller")


@pytest.mark.parametrize("header", ["x-pilothouse-tenant", "x-pilothouse-user", "x-pilothouse-client"])
async def test_a_name_that_is_sent_twice_is_refused(guarded: Guarded, header: str) -> None:
    client = Client({"prompt": "a"})
    client.headers += [(header.encode(), b"team-data"), (header.encode(), b"team-ide")]
    assert (await guarded(**KNOWN).serve(client)).error["code"] == "duplicate_header"


@pytest.mark.parametrize("name", ["team-data,team-ide", "team-ide ", "team-ide\x00", "team ide", "x" * 129])
async def test_a_name_that_no_gateway_sets_is_refused(guarded: Guarded, name: str) -> None:
    for header in ("x-pilothouse-tenant", "x-pilothouse-client"):
        answer = await guarded(**KNOWN).complete(headers={header: name})
        assert (answer.status, answer.error["code"]) == (400, "invalid_header")


@pytest.mark.parametrize(
    "subject",
    ["ada@example.com", "auth0|5f7c8ec7", "system:serviceaccount:ide:bot", "a/b", "A+B=", "x" * 128],
)
async def test_a_subject_of_an_identity_provider_is_a_name(guarded: Guarded, subject: str) -> None:
    setup = guarded(**KNOWN)
    headers = {"x-pilothouse-tenant": "team-ide", "x-pilothouse-user": subject}
    assert (await setup.complete(headers=headers)).status == 200
    assert setup.line["user"] == subject


@pytest.mark.parametrize("name", ["x_pilothouse_tenant", "pilothouse-tenant", "x-tenant", "tenant"])
async def test_a_header_of_a_like_name_is_no_name(guarded: Guarded, name: str) -> None:
    assert await refused(guarded(**KNOWN), {name: "team-ide"}) == (401, "caller_unknown")


@pytest.mark.parametrize(
    "header", ["x-vllm-priority", "X-Vllm-Priority", "x-data-parallel-rank", "x-session-id"]
)
async def test_a_header_that_the_engine_obeys_never_reaches_it(guarded: Guarded, header: str) -> None:
    setup = guarded(**KNOWN)
    await setup.complete(headers={"x-pilothouse-client": "team-ide.ada", header: "-9"})
    assert b"-9" not in dict(setup.engine.scopes[0]["headers"]).values()


# Models, and those who ask from inside the cluster.


async def test_the_list_of_models_is_not_for_another_tenant(guarded: Guarded) -> None:
    setup = guarded(**KNOWN)
    for headers, status in (
        ({"x-pilothouse-tenant": "team-ide"}, 200),
        ({"x-pilothouse-client": "team-edge.ada"}, 403),
        ({}, 200),
    ):
        assert (await setup.ask(path="/v1/models", method="GET", headers=headers)).status == status


@pytest.mark.parametrize("path", ["/health", "/metrics", "/ping", "/version"])
async def test_the_cluster_needs_no_name(guarded: Guarded, path: str) -> None:
    assert (await guarded(**KNOWN).ask(path=path, method="GET")).status == 200


async def test_the_operator_tests_a_pod_without_a_tenants_limits(guarded: Guarded) -> None:
    setup = guarded(callers="Known")
    for _ in range(3):
        assert (await setup.complete(headers={"x-pilothouse-tenant": names.OPERATOR_TENANT})).status == 200


@pytest.mark.parametrize("callers", ["Any", "Known"])
async def test_nobody_is_the_operator_through_a_gateway(guarded: Guarded, callers: str) -> None:
    setup = guarded(callers=callers)
    headers = GATEWAY | {"x-pilothouse-tenant": names.OPERATOR_TENANT}
    assert await refused(setup, headers) == (403, "tenant_not_allowed")


async def test_addresses_of_several_gateways_on_the_way_are_no_trouble(guarded: Guarded) -> None:
    client = Client({"prompt": "a"}, {"x-pilothouse-tenant": "team-ide"})
    client.headers += [(b"x-forwarded-for", b"10.0.0.1"), (b"x-forwarded-for", b"10.0.0.2")]
    assert (await guarded(**KNOWN).serve(client)).status == 200


def test_the_guard_and_the_operator_mean_the_same_names() -> None:
    guard = pilothouse_guard
    headers = (names.Header.TENANT, names.Header.USER, names.Header.CLIENT)
    assert [header.encode() for header in headers] == [guard.TENANT, guard.USER, guard.CLIENT]
    assert guard.OPERATOR == names.OPERATOR_TENANT
