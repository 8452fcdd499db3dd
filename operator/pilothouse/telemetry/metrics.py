"""Every metric of the operator.

| metric | type | labels |
|---|---|---|
| pilothouse_reconcile_total | counter | controller, result: done, again, retry, give_up |
| pilothouse_reconcile_errors_total | counter | controller |
| pilothouse_reconcile_terminal_errors_total | counter | controller |
| pilothouse_reconcile_duration_seconds | histogram | controller |
| pilothouse_active_workers | gauge | controller |
| pilothouse_max_concurrent_reconciles | gauge | |
| pilothouse_queue_depth | gauge | |
| pilothouse_queue_latency_seconds | histogram | |
| pilothouse_queue_retries_total | counter | |
| pilothouse_api_requests_total | counter | verb, kind, code (HTTP status, or `error` without an answer) |
| pilothouse_watch_events_total | counter | kind |
| pilothouse_watched_objects | gauge | kind |
| pilothouse_resync_total | counter | result: success, failure |
| pilothouse_resync_missed_changes_total | counter | kind |
| pilothouse_leader | gauge | |
| pilothouse_scrapes_total | counter | result: success, failure |
| pilothouse_scrape_duration_seconds | histogram | |
| pilothouse_rollouts | gauge | state: as in `.status.rollout.state` |
| pilothouse_rollbacks_total | counter | reason |
| pilothouse_unrecorded_rollbacks_total | counter | |
| pilothouse_model_info | gauge | namespace, deployment, model, revision, state, checkpoint, checkpoint_revision, tokenizer_revision, license_id, queue_class |

Beside these stand the usual `process_*` and `python_*` metrics. No label names an object, but those of
`pilothouse_model_info`: the leader has one series for each stable revision and one for each canary.
"""  # noqa: E501 -- a row of a table is one line

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

_DURATIONS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

RECONCILES: Final = Counter(
    "pilothouse_reconcile",
    "Reconciles that ended. Labeled by controller and result.",
    ("controller", "result"),
    registry=REGISTRY,
)
RECONCILE_ERRORS: Final = Counter(
    "pilothouse_reconcile_errors",
    "Reconciles that failed and are tried again. Labeled by controller.",
    ("controller",),
    registry=REGISTRY,
)
TERMINAL_ERRORS: Final = Counter(
    "pilothouse_reconcile_terminal_errors",
    "Reconciles that were given up until a change. Labeled by controller.",
    ("controller",),
    registry=REGISTRY,
)
RECONCILE_SECONDS: Final = Histogram(
    "pilothouse_reconcile_duration_seconds",
    "How long a reconcile took. Labeled by controller.",
    ("controller",),
    buckets=_DURATIONS,
    registry=REGISTRY,
)
ACTIVE_WORKERS: Final = Gauge(
    "pilothouse_active_workers",
    "Reconciles under way. Labeled by controller.",
    ("controller",),
    registry=REGISTRY,
)
MAX_CONCURRENT: Final = Gauge(
    "pilothouse_max_concurrent_reconciles",
    "How many reconciles may run at a time, of all controllers together.",
    registry=REGISTRY,
)
QUEUE_DEPTH: Final = Gauge("pilothouse_queue_depth", "Keys that wait for a worker.", registry=REGISTRY)
QUEUE_LATENCY: Final = Histogram(
    "pilothouse_queue_latency_seconds",
    "How long a key waited for a worker.",
    buckets=_DURATIONS,
    registry=REGISTRY,
)
QUEUE_RETRIES: Final = Counter("pilothouse_queue_retries", "Keys put back with backoff.", registry=REGISTRY)
API_REQUESTS: Final = Counter(
    "pilothouse_api_requests",
    "Requests to the API server, watches aside. Labeled by verb, kind and code.",
    ("verb", "kind", "code"),
    registry=REGISTRY,
)
WATCH_EVENTS: Final = Counter(
    "pilothouse_watch_events",
    "Objects that the watches brought. Labeled by kind.",
    ("kind",),
    registry=REGISTRY,
)
WATCHED_OBJECTS: Final = Gauge(
    "pilothouse_watched_objects", "Objects held in memory. Labeled by kind.", ("kind",), registry=REGISTRY
)
RESYNCS: Final = Counter(
    "pilothouse_resync",
    "Comparisons of what is known with what is there. Labeled by result.",
    ("result",),
    registry=REGISTRY,
)
MISSED_CHANGES: Final = Counter(
    "pilothouse_resync_missed_changes",
    "Changes that a resync found and no watch brought. Labeled by kind.",
    ("kind",),
    registry=REGISTRY,
)
LEADER: Final = Gauge("pilothouse_leader", "1 while this process holds the Lease.", registry=REGISTRY)
SCRAPES: Final = Counter(
    "pilothouse_scrapes", "Reads of an engine's metrics. Labeled by result.", ("result",), registry=REGISTRY
)
SCRAPE_SECONDS: Final = Histogram(
    "pilothouse_scrape_duration_seconds",
    "How long a successful read of an engine's metrics took.",
    buckets=_DURATIONS,
    registry=REGISTRY,
)
ROLLOUTS: Final = Gauge(
    "pilothouse_rollouts", "ModelDeployments that roll out. Labeled by state.", ("state",), registry=REGISTRY
)
ROLLBACKS: Final = Counter(
    "pilothouse_rollbacks",
    "Rollbacks that were put on record. Labeled by reason.",
    ("reason",),
    registry=REGISTRY,
)
UNRECORDED_ROLLBACKS: Final = Counter(
    "pilothouse_unrecorded_rollbacks",
    "Times that the objects of a rollback were applied though no status could be written.",
    registry=REGISTRY,
)

MODEL_LABELS: Final = (
    "namespace",
    "deployment",
    "model",
    "revision",
    "state",
    "checkpoint",
    "checkpoint_revision",
    "tokenizer_revision",
    "license_id",
    "queue_class",
)
MODEL_INFO: Final = Gauge(
    "pilothouse_model_info",
    "1 for each revision that runs. Labeled by what it is: its pins, its license, and stable or canary.",
    MODEL_LABELS,
    registry=REGISTRY,
)


def configure() -> None:
    """Leave out the `_created` series, which double the size of a scrape; a setting of the whole process."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
