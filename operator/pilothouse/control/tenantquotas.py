"""One TenantQuota, looked at once: what stands behind it, who may go on, and what its status says."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import ValidationError

from pilothouse.act.apply import Apply
from pilothouse.act.kube import Kube
from pilothouse.act.status import write_status
from pilothouse.api.common import field_errors
from pilothouse.api.tenantquota import TenantQuota
from pilothouse.control.gpuledger import GpuLedger
from pilothouse.control.outcome import DONE, Outcome, Result
from pilothouse.kinds import MODEL_DEPLOYMENT
from pilothouse.observe.store import Store
from pilothouse.plan.enforcement import enforcement
from pilothouse.plan.observed import Object, ObjectKey, key_of
from pilothouse.plan.tenantquota import Tenant, plan_tenant, unreadable
from pilothouse.plan.traffic import Traffic


@dataclass(frozen=True, slots=True)
class TenantQuotas:
    """Reconciles TenantQuotas.

    `wake` is told of the ModelDeployments that can have GPUs now, and of those whose guards have to hold more
    or less now that the gateways hold other limits.
    """

    store: Store
    ledger: GpuLedger
    apply: Apply
    kube: Kube
    wake: Callable[[ObjectKey], object]
    look: Callable[[], Traffic]
    now: Callable[[], datetime]

    async def __call__(self, key: ObjectKey) -> Outcome:
        """Reconcile; raises what stood in the way."""
        live = self.store.live(key)
        if live is None or live["metadata"].get("deletionTimestamp"):
            return DONE
        try:
            quota = TenantQuota.parse(live)
        except ValidationError as error:
            await self._say(live, unreadable(live, field_errors(error), self.now()).status)
            return Outcome(Result.GIVE_UP)
        children = self.store.children(key, live["metadata"]["uid"])
        tenant = self.ledger.tenant(quota, self.now(), children)
        held = enforcement(quota, self.look()) if quota.spec.callers else ()
        return await self._carry_out(live, replace(tenant, enforcement=held))

    async def _carry_out(self, live: Object, tenant: Tenant) -> Outcome:
        for key in self.ledger.admissible(tenant):
            self.wake(key)
        plan = plan_tenant(tenant)
        applied = await self.apply(plan, tenant.children)
        if applied.refusals:
            plan = plan_tenant(replace(tenant, refusals=applied.refusals))
        await self._say(live, plan.status)
        if plan.requeue_after is None:
            return DONE
        return Outcome(Result.AGAIN, plan.requeue_after.total_seconds())

    async def _say(self, live: Object, status: Object) -> None:
        answer = await write_status(self.kube, live, status)
        if answer is None:
            return
        self.store.upsert(answer)
        if answer["status"].get("enforcement") != (live.get("status") or {}).get("enforcement"):
            self._wake_models(key_of(live))

    def _wake_models(self, quota: ObjectKey) -> None:
        for key in self.store.affected_by(quota):
            if key.kind == MODEL_DEPLOYMENT.name:
                self.wake(key)
