"""Starts the operator: reads the settings and wires the parts, here and nowhere else."""

import asyncio
import sys
import time
from datetime import UTC, datetime
from functools import partial
from typing import Final

import aiohttp
from kubernetes.aio.config import ConfigException
from pydantic import ValidationError

from pilothouse.act.apply import Apply
from pilothouse.act.credentials import Credentials
from pilothouse.act.events import Events
from pilothouse.act.kube import Kube
from pilothouse.act.rest import connect
from pilothouse.act.secrets import Secrets
from pilothouse.control.controllers import Controllers
from pilothouse.control.gateways import Gateways
from pilothouse.control.gpuledger import GpuLedger
from pilothouse.control.handlers import observer, watch
from pilothouse.control.health import Health
from pilothouse.control.leader import Leader
from pilothouse.control.operator import Operator
from pilothouse.control.outcome import Reconciler
from pilothouse.control.podcode import pod_files
from pilothouse.control.preflights import Preflights
from pilothouse.control.queue import SETTLE_SECONDS, Queue
from pilothouse.control.reconcile import Decisions, Reconcile
from pilothouse.control.record import Record
from pilothouse.control.resync import Resync
from pilothouse.control.tenantquotas import TenantQuotas
from pilothouse.control.worker import Workers
from pilothouse.kinds import ENDPOINT_SLICE, GATEWAY, MODEL_DEPLOYMENT, POD, TENANT_QUOTA, Kind
from pilothouse.names import DEPLOYMENT
from pilothouse.observe.endpoints import reachable
from pilothouse.observe.fetches import Fetches
from pilothouse.observe.gather import Gather, Installation, Looks
from pilothouse.observe.http import open_session
from pilothouse.observe.measure import Measure
from pilothouse.observe.preflight import Patience, Preflighter
from pilothouse.observe.prometheus import Prometheus
from pilothouse.observe.promql import PromQL
from pilothouse.observe.recent import Recent
from pilothouse.observe.store import Store
from pilothouse.observe.traffic import traffic
from pilothouse.observe.vllm import Engines
from pilothouse.plan.invalid import invalid
from pilothouse.plan.observed import Object, ObjectKey
from pilothouse.plan.plan import plan
from pilothouse.settings import Settings
from pilothouse.telemetry import logging, metrics
from pilothouse.telemetry.logging import get_logger
from pilothouse.telemetry.modelinfo import Models

_log: Final = get_logger(__name__)


def main() -> None:
    """Run until SIGTERM; exit 2 for bad settings or no cluster, 1 when a part failed."""
    try:
        settings = Settings.from_environment()
    except ValidationError as error:
        sys.exit(f"pilothouse: bad settings: {error}")
    logging.configure(settings.log_level)
    metrics.configure()
    try:
        asyncio.run(_run(settings))
    except ConfigException as error:
        sys.exit(f"pilothouse: no cluster: {error}")
    except ExceptionGroup:
        _log.exception("A part failed, and all end with it")
        sys.exit(1)


async def _run(settings: Settings) -> None:
    credentials = await Credentials.load()
    async with connect(credentials) as kube, open_session() as session:
        await _operator(settings, credentials, kube, session).run()


def _operator(
    settings: Settings, credentials: Credentials, kube: Kube, session: aiohttp.ClientSession
) -> Operator:
    store, queue, models = Store(), Queue[ObjectKey](), Models()
    resync = Resync(kube, store, queue, time.monotonic)
    engines = Engines(session, _now, settings.scrape_seconds)
    preflights = Preflights(
        examine=Preflighter(session, engines, Patience(settings.preflight_seconds)),
        ended=queue.add,
        exists=lambda key: store.version(key) is not None,
        at_a_time=settings.preflights,
    )
    looks = Looks(
        measure=_measure(settings, kube, session, engines),
        recent=Recent(),
        preflights=preflights,
        fetches=Fetches(session, settings.scrape_seconds),
    )
    gather = Gather(
        store, partial(_list, kube, POD), partial(_reachable, kube), looks, _installation(settings), _now
    )
    ledger = GpuLedger(
        store,
        # One look at a quota for all that is promised at about the same time.
        lambda quota: queue.add_after(quota, SETTLE_SECONDS),
        demands_quota=settings.require_tenant_quota,
    )
    apply, look = Apply(kube, store.upsert), partial(traffic, store)
    reconcilers: dict[str, Reconciler] = {
        MODEL_DEPLOYMENT.name: _reconcile(settings, kube, gather, ledger, models),
        TENANT_QUOTA.name: TenantQuotas(store, ledger, apply, kube, queue.add, look, _now),
        GATEWAY.name: Gateways(store, look, apply),
    }
    return Operator(
        settings=settings,
        queue=queue,
        workers=Workers(queue, Controllers(store, kube, reconcilers), settings.workers),
        resync=resync,
        leader=Leader(kube, settings),
        models=models,
        gpus=ledger,
        preflights=preflights,
        health=_health(settings, queue, resync),
        watch=partial(watch, observer(store, queue, resync.relisted), credentials),
    )


def _installation(settings: Settings) -> Installation:
    return Installation(
        pod_files(), settings.hub_endpoint, settings.require_license_policy, settings.network_peers
    )


def _reconcile(
    settings: Settings, kube: Kube, gather: Gather, ledger: GpuLedger, models: Models
) -> Reconcile:
    see = gather.store.upsert
    return Reconcile(
        store=gather.store,
        gather=gather,
        decide=Decisions(plan, invalid),
        record=Record(kube, see),
        apply=Apply(kube, see),
        kube=kube,
        events=Events(kube, settings.identity, _now),
        models=models,
        gpus=ledger,
    )


def _health(settings: Settings, queue: Queue[ObjectKey], resync: Resync) -> Health:
    return Health(
        oldest_reconcile=queue.oldest_running,
        resync_age=lambda: time.monotonic() - resync.attempted_at,
        lost_watches=resync.lost_watches,
        filled=lambda: resync.filled,
        settings=settings,
    )


def _measure(settings: Settings, kube: Kube, session: aiohttp.ClientSession, engines: Engines) -> Measure:
    promql = PromQL(session, Secrets(kube, settings.namespace).token, settings.prometheus_seconds)
    return Measure(engines, Prometheus(promql, _now, settings.scrape_seconds))


async def _reachable(kube: Kube, key: ObjectKey) -> dict[str, int]:
    return reachable(await _list(kube, ENDPOINT_SLICE, key))


async def _list(kube: Kube, kind: Kind, key: ObjectKey) -> list[Object]:
    """List what carries the label of a ModelDeployment."""
    selector = f"{DEPLOYMENT}={key.name}"
    return [
        obj
        async for page in kube.pages(kind, namespace=key.namespace, selector=selector)
        for obj in page.items
    ]


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
