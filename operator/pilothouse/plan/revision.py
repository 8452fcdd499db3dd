"""What makes a revision: the hash of all that can change an answer or its speed, and what it was rendered to.

The hash is taken over the user-visible spec, never over rendered objects, and the rendered template is kept
in a ControllerRevision. So an operator that renders differently changes new revisions only: an upgrade of the
operator never restarts a GPU pod.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from pilothouse import names
from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.api.modeldeploymentstatus import RevisionStatus
from pilothouse.api.queueclass import QueueClass
from pilothouse.names import child_name
from pilothouse.plan.lifecycle import Lifecycle, drain_seconds
from pilothouse.plan.observed import Object, Observed
from pilothouse.plan.podlayout import code_of, digest_of
from pilothouse.plan.podtemplate import label_value
from pilothouse.plan.sources import tokenizer_of

ALGORITHM: Final = 1
"""Version of `inputs_of`. A change of what it returns for any spec needs a new version beside the old one."""

_DIGITS: Final = 10


@dataclass(frozen=True, slots=True)
class Revision:
    """One frozen revision. `inputs` is what was hashed, `pod_template` what it was rendered to.

    `files` is the digest of the code that its pods are given, empty where none is on record.
    """

    name: str
    number: int
    inputs: Object
    pod_template: Object
    lifecycle: Lifecycle
    files: str = ""

    @property
    def pins(self) -> dict[str, str]:
        """The pins as the status shows them, by their names there."""
        model = self.inputs["model"]
        return {
            "revision": self.name,
            "checkpointRevision": model["checkpoint"]["revision"],
            "tokenizerRevision": model["tokenizer"]["revision"],
            "licenseID": model["license"]["id"],
        }

    def data(self) -> Object:
        """Content of the ControllerRevision."""
        return {
            "algorithm": ALGORITHM,
            "inputs": self.inputs,
            "podTemplate": self.pod_template,
            "lifecycle": {"startup": self.lifecycle.startup, "drain": self.lifecycle.drain},
            **({"files": self.files} if self.files else {}),
        }


def inputs_of(deployment: ModelDeployment, queue_class: QueueClass) -> Object:
    """All that can change an answer or its speed.

    Values that equal their default are left out, so that a new field with a default changes no hash; one that
    another field gives is filled in, so that writing it out changes none either.
    """
    spec = deployment.spec
    sections = {
        "model": _model(deployment),
        "engine": _dump(spec.engine),
        "resources": _dump(spec.resources),
        "storage": _dump(spec.storage),
        "placement": _dump(spec.placement),
        "queueClass": {
            "name": spec.queue_class_name,
            "maxInputTokens": queue_class.spec.requests.max_input_tokens,
            "maxOutputTokens": queue_class.spec.requests.max_output_tokens,
            "perReplica": queue_class.spec.concurrency.per_replica,
            "queuedPerReplica": queue_class.spec.concurrency.queued_per_replica,
            "drain": drain_seconds(queue_class),
        },
    }
    return {name: section for name, section in sections.items() if section}


def hash_of(inputs: Mapping[str, Any]) -> str:
    """Name of the revision with these inputs: 10 hex digits."""
    return _digest(ALGORITHM, inputs)


def _digest(algorithm: int, inputs: Mapping[str, Any]) -> str:
    text = json.dumps([algorithm, inputs], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def revisions_of(observed: Observed) -> dict[str, Revision]:
    """Return the frozen revisions that exist, by name."""
    owner = observed.deployment.metadata.name
    stored = observed.children_of_kind("ControllerRevision")
    trusted = [revision_of(record, owner) for record in stored if _is_true(record, owner)]
    return {revision.name: revision for revision in [*_recovered(observed), *trusted]}


def is_forged(live: Object, planned: Object) -> bool:
    """Say whether a record is neither true to its name nor what is planned under it."""
    if live["kind"] != "ControllerRevision" or live["data"] == planned["data"]:
        return False
    return not _is_true(live, planned["metadata"]["labels"][names.DEPLOYMENT])


def next_number(revisions: Mapping[str, Revision]) -> int:
    """Return the number of a revision that is made now: one more than any that exists."""
    return max((revision.number for revision in revisions.values()), default=0) + 1


def revision_of(controller_revision: Object, owner: str) -> Revision:
    """Read a record back: its name and data can't be changed by anybody, its labels can."""
    data = controller_revision["data"]
    return Revision(
        name=controller_revision["metadata"]["name"].removeprefix(child_name(owner, "")),
        number=controller_revision["revision"],
        inputs=data["inputs"],
        pod_template=data["podTemplate"],
        lifecycle=Lifecycle(**data["lifecycle"]),
        files=data.get("files", ""),
    )


def _is_true(record: Object, owner: str) -> bool:
    """Say whether a record is what its name says, and its pods are under the license that it says."""
    data = record["data"]
    name = child_name(owner, _digest(data["algorithm"], data["inputs"]))
    license_id = data["inputs"]["model"]["license"]["id"]
    return bool(record["metadata"]["name"] == name) and _is_labelled(data["podTemplate"], license_id)


def _is_labelled(template: Object, license_id: str) -> bool:
    return bool(template["metadata"]["labels"].get(names.LICENSE_ID) == label_value(license_id))


def _recovered(observed: Observed) -> list[Revision]:
    """Rebuild the stable revision from its Deployment: who deletes its record does not stop it."""
    stable = observed.deployment.status.stable
    if not stable:
        return []
    name = child_name(observed.deployment.metadata.name, stable.revision)
    live = observed.child("Deployment", name)
    if not live:
        return []
    template, deadline = live["spec"]["template"], live["spec"]["progressDeadlineSeconds"]
    lifecycle = Lifecycle.of_deployment(template["spec"]["terminationGracePeriodSeconds"], deadline)
    inputs = _lost_inputs(observed, stable, template)
    return [Revision(stable.revision, 0, inputs, template, lifecycle, _live_files(observed, name))]


def _live_files(observed: Observed, name: str) -> str:
    """Digest of the code that the pods were given, for a record that is lost."""
    live = observed.child("ConfigMap", name)
    return digest_of(code_of(live["data"])) if live else ""


def _lost_inputs(observed: Observed, stable: RevisionStatus, template: Object) -> Object:
    """Return what the lost record was made of: the spec, where it still leads there, else the pins alone.

    The license is that of the pods, whatever the status says.
    """
    if observed.queue_class:
        inputs = inputs_of(observed.deployment, observed.queue_class)
        if hash_of(inputs) == stable.revision:
            return inputs
    labelled = _is_labelled(template, stable.license_id)
    license_id = stable.license_id if labelled else template["metadata"]["labels"].get(names.LICENSE_ID, "")
    pins = {
        "checkpoint": {"revision": stable.checkpoint_revision},
        "tokenizer": {"revision": stable.tokenizer_revision},
        "license": {"id": license_id},
    }
    return {"model": pins}


def _model(deployment: ModelDeployment) -> Object:
    model, tokenizer = deployment.spec.model, tokenizer_of(deployment)
    return {
        **_dump(model),
        "name": model.name or deployment.metadata.name,
        "tokenizer": {**_dump(model.tokenizer), "source": str(tokenizer.source)},
    }


def _dump(model: BaseModel) -> Object:
    return model.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True)
