"""The files that a revision's pods are given: the guard, the fetch and what they read, as one ConfigMap.

The code is frozen with the revision, so that an operator upgrade changes no pod that serves: what is live
stays as long as it has the digest on record. The guard's settings follow the queue class while pods run; the
kubelet brings a change into the pod within about a minute.
"""

import json
from collections.abc import Mapping

from pilothouse.names import child_name
from pilothouse.plan.guardsettings import guard_settings
from pilothouse.plan.observed import Object, Observed
from pilothouse.plan.podlayout import SETTINGS, code_of, digest_of, has_files
from pilothouse.plan.revision import Revision
from pilothouse.plan.workload import revision_metadata


def config_map(observed: Observed, revision: Revision) -> list[Object]:
    """Return the ConfigMap of one revision; none for pods that know of none."""
    if not has_files(revision.pod_template):
        return []
    deployment = observed.deployment
    live = observed.child("ConfigMap", child_name(deployment.metadata.name, revision.name))
    data: Object = (live or {}).get("data") or {}
    settings = guard_settings(observed, revision, read_settings(data.get(SETTINGS, "")))
    text = json.dumps(settings, indent=1, sort_keys=True) if settings else data.get(SETTINGS, "")
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": revision_metadata(deployment, revision),
            "data": {**_code(observed.pod_files, revision, data), SETTINGS: text},
        }
    ]


def read_settings(text: str) -> Object:
    """Return settings as JSON; what somebody made of them that is none is like none."""
    try:
        settings = json.loads(text)
    except ValueError:
        return {}
    return settings if isinstance(settings, dict) else {}


def _code(current: Mapping[str, str], revision: Revision, live: Mapping[str, str]) -> Mapping[str, str]:
    """Return the code on record where the cluster still has it, else that of this operator."""
    known = code_of(live)
    return known if digest_of(known) == revision.files else current
