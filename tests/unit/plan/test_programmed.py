"""Whether the Gateways carry the route as it is, in the words that the status repeats."""

from dataclasses import replace

from builders import (
    GATEWAY,
    Cluster,
    accepted_parent,
    gateway,
    merged,
    model_deployment,
    observed,
    parent_without_pods,
)
from pilothouse.names import Reason
from pilothouse.plan.cause import Cause
from pilothouse.plan.observed import Object, ObjectKey, Observed
from pilothouse.plan.programmed import is_followed, pods_unknown, route_trouble

ROUTE = ObjectKey("HTTPRoute", "team-ide", "qwen-coder")


def settled() -> Observed:
    """A ModelDeployment whose route its Gateway accepted."""
    cluster = Cluster()
    cluster.settle()
    return cluster.seen


def with_route(seen: Observed, *parents: Object, generation: int = 1) -> Observed:
    """The same with another status of the route."""
    live = {**seen.children[ROUTE], "status": {"parents": list(parents)}}
    live["metadata"] = {**live["metadata"], "generation": generation}
    return replace(seen, children={**seen.children, ROUTE: live})


def test_an_accepted_route_is_no_trouble() -> None:
    assert route_trouble(settled()) is None
    assert is_followed(settled())


def test_a_cluster_without_the_gateway_api_is_told_by_the_field_that_needs_it() -> None:
    found = route_trouble(replace(settled(), served_kinds=frozenset()))

    assert found == Cause(
        Reason.GATEWAY_API_MISSING, "spec.route: the cluster does not have the Gateway API's HTTPRoute"
    )


def test_a_missing_gateway_is_told_by_its_place_in_the_list() -> None:
    deployment = model_deployment(
        {"route": {"parentRefs": [{"name": "models", "namespace": "gateways"}, {"name": "other"}]}}
    )

    assert route_trouble(replace(settled(), deployment=deployment)) == Cause(
        Reason.GATEWAY_NOT_FOUND, "spec.route.parentRefs[1]: Gateway team-ide/other does not exist"
    )


def test_a_gateway_without_a_data_plane_is_told() -> None:
    found = route_trouble(replace(settled(), gateways={GATEWAY: gateway(programmed=False)}))

    assert found == Cause(
        Reason.GATEWAY_NOT_PROGRAMMED, "spec.route.parentRefs[0]: Gateway gateways/models is not programmed"
    )


def test_a_route_that_the_api_server_refuses_is_told() -> None:
    found = route_trouble(replace(settled(), refusals={ROUTE: "denied by a policy"}))

    assert found == Cause(Reason.APPLY_REFUSED, "HTTPRoute qwen-coder: denied by a policy")


def test_a_refusal_is_told_in_the_gateways_own_words() -> None:
    parent = accepted_parent(accepted=False, reason="NotAllowedByListeners")

    assert route_trouble(with_route(settled(), parent)) == Cause(
        Reason.ROUTE_NOT_ACCEPTED,
        "spec.route: Gateway gateways/models: NotAllowedByListeners: said so",
    )


def test_backends_that_the_gateway_does_not_find_are_a_refusal() -> None:
    parent = accepted_parent()
    unresolved = {"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound", "message": "none"}
    found = route_trouble(
        with_route(settled(), {**parent, "conditions": [*parent["conditions"], unresolved]})
    )

    assert found
    assert found.message.endswith("Gateway gateways/models: BackendNotFound: none")


def test_an_answer_to_an_older_route_is_none() -> None:
    seen = with_route(settled(), accepted_parent(accepted=False), generation=2)
    found = route_trouble(seen)

    assert found
    assert found.reason is Reason.ROUTE_PENDING
    assert not is_followed(seen)


def test_a_route_that_is_not_there_yet_is_pending_but_misleads_nobody() -> None:
    found = route_trouble(observed())

    assert found
    assert found.reason is Reason.ROUTE_PENDING
    assert is_followed(observed())


def test_every_gateway_has_to_answer() -> None:
    refs = [{"name": "models", "namespace": "gateways"}, {"name": "own"}]
    own = ObjectKey("Gateway", "team-ide", "own")
    seen = replace(
        settled(),
        deployment=model_deployment({"route": {"parentRefs": refs}}),
        gateways={GATEWAY: gateway(), own: gateway()},
    )
    answer = merged(accepted_parent(), {"parentRef": {"name": "own", "namespace": None}})

    assert not is_followed(seen)
    assert not is_followed(with_route(seen, accepted_parent(), accepted_parent()))
    assert is_followed(with_route(seen, accepted_parent(), answer))


def test_a_gateway_that_does_not_exist_misleads_nobody() -> None:
    seen = replace(with_route(settled(), generation=2), gateways={})

    assert is_followed(seen)


def test_a_gateway_that_has_not_heard_of_the_pods_is_told_and_keeps_its_word_on_the_route() -> None:
    seen = with_route(settled(), parent_without_pods())

    assert pods_unknown(seen) == Cause(
        Reason.ROUTE_PENDING, "spec.route: Gateway gateways/models has not heard of the ready pods"
    )
    assert route_trouble(seen) is None


def test_a_gateway_that_knows_the_pods_or_says_nothing_of_them_is_no_trouble() -> None:
    for parent in (accepted_parent(), parent_without_pods("True"), parent_without_pods(reason="Other")):
        assert pods_unknown(with_route(settled(), parent)) is None


def test_what_was_said_of_an_older_route_does_not_count() -> None:
    assert pods_unknown(with_route(settled(), parent_without_pods(), generation=2)) is None


def test_of_several_backends_one_may_have_its_pods_yet_to_come() -> None:
    seen = with_route(settled(), parent_without_pods())
    live = seen.children[ROUTE]
    rules = [{**rule, "backendRefs": [*rule["backendRefs"]] * 2} for rule in live["spec"]["rules"]]
    two = merged(live, {"spec": {"rules": rules}})

    assert pods_unknown(replace(seen, children={**seen.children, ROUTE: two})) is None
