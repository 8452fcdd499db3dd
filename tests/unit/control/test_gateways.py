"""One Gateway, looked at once."""

from builders import gateway, merged
from fake_kube import FakeKube
from pilothouse.act.apply import Apply
from pilothouse.api.tenantquota import TenantQuota
from pilothouse.control.gateways import Gateways
from pilothouse.control.outcome import DONE, Outcome, Result
from pilothouse.errors import Terminal
from pilothouse.observe.store import Store
from pilothouse.plan.observed import Object, ObjectKey
from pilothouse.plan.traffic import RoutedModel, Traffic

KEY = ObjectKey("Gateway", "gateways", "models")
MODEL = RoutedModel(ObjectKey("ModelDeployment", "team-ide", "coder"), "completion", True, (KEY,), ())  # noqa: FBT003
QUOTA = TenantQuota.parse(
    {
        "metadata": {"name": "team-ide"},
        "spec": {"namespaces": ["team-ide"], "callers": {"auth": {"apiKeys": {"secretNames": ["keys"]}}}},
    }
)
CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"
KINDS = frozenset({"HTTPRoute", "SecurityPolicy", "ClientTrafficPolicy", "BackendTrafficPolicy"})


def front(**metadata: object) -> Object:
    """The Gateway as the cluster has it."""
    said = {"annotations": {"pilothouse.dev/callers": "APIKeys"}, "uid": "g1", "resourceVersion": "1"}
    return merged(gateway(), {"apiVersion": "gateway.networking.k8s.io/v1", "metadata": {**said, **metadata}})


async def reconciled(kube: FakeKube, live: Object | None) -> Outcome:
    """Reconcile the Gateway with one tenant's callers."""
    store = Store()
    if live:
        store.upsert(live)
    seen = Traffic(
        gateways={KEY: live} if live else {},
        controllers={KEY: CONTROLLER},
        models=(MODEL,),
        quotas=(QUOTA,),
        served_kinds=KINDS,
    )
    return await Gateways(store, lambda: seen, Apply(kube, lambda _: None))(KEY)


async def test_what_its_callers_need_is_applied_and_the_gateway_itself_is_left_alone() -> None:
    kube = FakeKube()
    assert await reconciled(kube, front()) == DONE
    assert [key.kind for _, key in kube.requests] == [
        "ClientTrafficPolicy",
        "HTTPRoute",
        "SecurityPolicy",
        "BackendTrafficPolicy",
    ]


async def test_a_gateway_that_is_gone_or_going_gets_nothing_new() -> None:
    kube = FakeKube()
    assert await reconciled(kube, None) == DONE
    assert await reconciled(kube, front(deletionTimestamp="2026-11-01T00:00:00Z")) == DONE
    assert kube.requests == []


async def test_what_is_refused_is_tried_again_and_stops_nothing_else() -> None:
    kube = FakeKube()

    def refuse(verb: str, key: ObjectKey) -> None:
        if (verb, key.kind) == ("apply", "ClientTrafficPolicy"):
            raise Terminal("forbidden")

    kube.before = refuse
    assert await reconciled(kube, front()) == Outcome(Result.RETRY)
    assert ("apply", ObjectKey("BackendTrafficPolicy", "gateways", "pilothouse-models")) in kube.requests
