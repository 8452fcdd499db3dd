"""Reads what the engines count from a Prometheus that scrapes them.

The raw counters are asked for, not rates: from them follows the same as from the pods' own pages, and what a
restart of an engine does to them is decided in one place. docs/observability.md says which labels Prometheus
must give them.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from pilothouse.errors import Unreadable
from pilothouse.names import DEPLOYMENT
from pilothouse.observe.measured import Measured
from pilothouse.observe.series import NAMES, Sample, reading_of
from pilothouse.plan.observed import Object, ObjectKey

_OWN_LABELS: Final = frozenset(
    {"__name__", "engine", "finished_reason", "handler", "le", "method", "model_name", "reason", "status"}
)
"""Labels that the engine gives; all others are of the scrape."""


def selector(deployment: ObjectKey, pods: Sequence[Object]) -> str:
    """Return the PromQL that selects all series that are needed of these pods."""
    matchers = (
        f"__name__=~{_any_of(NAMES)}",
        f"namespace={json.dumps(deployment.namespace)}",
        f"{discovered(DEPLOYMENT)}={json.dumps(deployment.name)}",
        f"pod=~{_any_of(pod['metadata']['name'] for pod in pods)}",
    )
    return f"{{{','.join(matchers)}}}"


def discovered(label: str) -> str:
    """Return a Kubernetes label's name as Prometheus writes it."""
    return "".join(sign if sign.isalnum() else "_" for sign in label)


def readings_of(pods: Sequence[Object], at: datetime, samples: Iterable[Sample]) -> Measured:
    """Sort the samples by pod; raises Unreadable where they are not what an engine exports."""
    by_pod = _by_pod(samples)
    try:
        return Measured(
            tuple(
                replace(reading_of(pod, at, by_pod[pod["metadata"]["name"]]), fresh=False)
                for pod in pods
                if pod["metadata"]["name"] in by_pod
            ),
            {
                pod["metadata"]["uid"]: "Prometheus has no series of this pod"
                for pod in pods
                if pod["metadata"]["name"] not in by_pod
            },
        )
    except ValueError as error:
        raise Unreadable("a bucket has no edge") from error


def _by_pod(samples: Iterable[Sample]) -> Mapping[str, list[Sample]]:
    """Return each pod's samples; of a pod that is scraped more than once, those of one scrape."""
    scrapes: defaultdict[str, defaultdict[tuple[tuple[str, str], ...], list[Sample]]]
    scrapes = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        of_the_scrape = sorted((key, value) for key, value in sample.labels.items() if key not in _OWN_LABELS)
        scrapes[sample.labels["pod"]][tuple(of_the_scrape)].append(sample)
    return {pod: of_pod[min(of_pod)] for pod, of_pod in scrapes.items()}


def _any_of(values: Iterable[str]) -> str:
    return json.dumps("|".join(values))
