from builders import manifest
from fake_kube import FakeKube
from pilothouse.control.controllers import Controllers
from pilothouse.control.outcome import DONE, Outcome, Result
from pilothouse.errors import Outdated
from pilothouse.observe.store import Store
from pilothouse.plan.observed import ObjectKey
from pilothouse.telemetry.metrics import REGISTRY

MODEL = ObjectKey("ModelDeployment", "team-ide", "qwen-coder")
QUOTA = ObjectKey("TenantQuota", "", "team-ide")


async def test_a_key_goes_to_the_reconciler_of_its_kind_and_counts_for_it() -> None:
    seen = []

    async def models(key: ObjectKey) -> Outcome:
        seen.append(("models", key))
        return DONE

    async def quotas(key: ObjectKey) -> Outcome:
        seen.append(("quotas", key))
        raise RuntimeError("a defect")

    controllers = Controllers(Store(), FakeKube(), {MODEL.kind: models, QUOTA.kind: quotas})
    counted = {"controller": "tenantquota", "result": "retry"}
    before = REGISTRY.get_sample_value("pilothouse_reconcile_total", counted) or 0
    assert await controllers(MODEL) == DONE
    assert await controllers(QUOTA) == Outcome(Result.RETRY)
    assert seen == [("models", MODEL), ("quotas", QUOTA)]
    assert REGISTRY.get_sample_value("pilothouse_reconcile_total", counted) == before + 1


async def test_what_changed_meanwhile_is_read_before_it_is_looked_at_again() -> None:
    store, kube = Store(), FakeKube(manifest())

    async def outdated(_: ObjectKey) -> Outcome:
        raise Outdated("modified")

    outcome = await Controllers(store, kube, {MODEL.kind: outdated})(MODEL)
    assert outcome.result is Result.AGAIN
    assert store.get(MODEL)
