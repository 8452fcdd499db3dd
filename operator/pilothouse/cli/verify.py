"""Whether a pod serves what was declared: what it says, held against the status and the frozen record.

Nothing here is believed because the operator wrote it. The record is an immutable ControllerRevision whose
name is the hash of what is in it, and the pod is asked itself.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from pilothouse import names
from pilothouse.act.rest import Answer
from pilothouse.api.modeldeployment import Guard, ModelDeployment
from pilothouse.names import ENGINE_CONTAINER, Header, RolloutState
from pilothouse.plan.licensenames import card_names
from pilothouse.plan.observed import Object
from pilothouse.plan.podfiles import read_settings
from pilothouse.plan.podlayout import GUARD, SETTINGS, code_of, digest_of, has_files
from pilothouse.plan.revision import ALGORITHM, hash_of

_OK: Final = 200
_GUARD_FILE: Final = f"{GUARD.partition('.')[0]}.py"


class Verdict(StrEnum):
    """What one comparison came to."""

    AGREES = "Agrees"
    DIFFERS = "Differs"
    UNVERIFIABLE = "Unverifiable"
    """Nobody can tell: the pod has nothing that could be asked."""
    NOT_ASKED = "NotAsked"
    """It could be told, but no answer came."""


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison; `actual` is what the pod said, `message` why there is none."""

    name: str
    verdict: Verdict
    expected: str = ""
    actual: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a pod answered; a text in place of an answer says why none came."""

    models: Answer | str
    about: Answer | str


@dataclass(frozen=True, slots=True)
class Declared:
    """What must be so for one pod: its ModelDeployment, and the record and files of its revision."""

    deployment: ModelDeployment
    revision: str
    record: Object | None
    files: Mapping[str, str] | str = field(default_factory=dict)
    """The ConfigMap's data; a text in its place says why it could not be read."""
    settings: Object | str = field(default_factory=dict)
    """What of them the guard is to hold requests to; a text in its place says why nobody can tell."""

    @property
    def inputs(self) -> Object:
        """What the revision was made of."""
        return (self.record or {}).get("data", {}).get("inputs", {})  # type: ignore[no-any-return]

    @property
    def pod_template(self) -> Object:
        """What the revision was rendered to."""
        return (self.record or {}).get("data", {}).get("podTemplate", {})  # type: ignore[no-any-return]

    @property
    def pins(self) -> dict[str, str]:
        """What a pod of this revision must say of itself, by the names of the guard's identity."""
        model, metadata = self.inputs.get("model", {}), self.deployment.metadata
        return {
            "namespace": metadata.namespace,
            "deployment": metadata.name,
            "revision": self.revision,
            "model": model.get("name", ""),
            "modelRevision": model.get("checkpoint", {}).get("revision", ""),
            "tokenizerRevision": model.get("tokenizer", {}).get("revision", ""),
            "licenseID": model.get("license", {}).get("id", ""),
            "queueClass": self.inputs.get("queueClass", {}).get("name", ""),
        }

    @property
    def is_guarded(self) -> bool:
        """Whether a pod of this revision has a guard that can be asked."""
        enabled = self.inputs.get("engine", {}).get("guard", Guard.ENABLED) == Guard.ENABLED
        return enabled and bool(self.pod_template) and has_files(self.pod_template)


def checks_of(pod: Object, declared: Declared, heard: Heard) -> tuple[Check, ...]:
    """Compare one pod with all that must be so for it."""
    if not declared.record:
        name = names.child_name(declared.deployment.metadata.name, declared.revision)
        return (Check("record", Verdict.DIFFERS, message=f"there is no ControllerRevision {name}"),)
    return (
        *_record(declared),
        *_status(declared),
        *_pod(pod, declared),
        *_models(declared, heard.models),
        *_about(pod, declared, heard.about),
    )


def _record(declared: Declared) -> Iterator[Check]:
    data = (declared.record or {})["data"]
    if data.get("algorithm") != ALGORITHM:
        message = f"its algorithm is {data.get('algorithm')}, this release knows {ALGORITHM}"
        yield Check("record", Verdict.UNVERIFIABLE, message=message)
        return
    yield _compared("record", declared.revision, hash_of(declared.inputs))


def _status(declared: Declared) -> Iterator[Check]:
    status, pins = declared.deployment.status, declared.pins
    part = next((each for each in (status.stable, status.canary) if _names(each, declared.revision)), None)
    if not part:
        draining = status.rollout is not None and status.rollout.state == RolloutState.DRAINING
        verdict = Verdict.AGREES if draining else Verdict.DIFFERS
        message = "it gave way and drains" if draining else "it is neither stable nor canary"
        yield Check("status.revision", verdict, actual=declared.revision, message=message)
        return
    yield _compared("status.checkpointRevision", pins["modelRevision"], part.checkpoint_revision)
    yield _compared("status.tokenizerRevision", pins["tokenizerRevision"], part.tokenizer_revision)
    yield _compared("status.licenseID", pins["licenseID"], part.license_id)


def _names(part: Any, revision: str) -> bool:  # noqa: ANN401 -- a part of the status, or none
    return part is not None and part.revision == revision


def _pod(pod: Object, declared: Declared) -> Iterator[Check]:
    meant, runs = _engine(declared.pod_template), _engine(pod)
    yield _compared("pod.image", meant.get("image", ""), runs.get("image", ""))
    yield _compared("pod.arguments", _line(meant), _line(runs))


def _engine(template: Object) -> Object:
    containers: list[Object] = template.get("spec", {}).get("containers", [])
    return next((each for each in containers if each["name"] == ENGINE_CONTAINER), {})


def _line(container: Object) -> str:
    return " ".join([*container.get("command", []), *container.get("args", [])])


def _models(declared: Declared, answer: Answer | str) -> Iterator[Check]:
    if isinstance(answer, str):
        yield Check("servedModel", Verdict.NOT_ASKED, message=answer)
        return
    if answer.status != _OK:
        yield Check("servedModel", Verdict.DIFFERS, message=f"the engine answers HTTP {answer.status}")
        return
    served = [str(model.get("id", "")) for model in _json(answer).get("data", [])]
    yield _compared("servedModel", declared.pins["model"], ", ".join(served))
    if declared.is_guarded:
        for header, pin in _HEADERS.items():
            yield _compared(f"header {header}", declared.pins[pin], answer.headers.get(header, ""))


_HEADERS: Final = {
    Header.REVISION: "revision",
    Header.MODEL_REVISION: "modelRevision",
    Header.TOKENIZER_REVISION: "tokenizerRevision",
    Header.LICENSE_ID: "licenseID",
}


def _about(pod: Object, declared: Declared, answer: Answer | str) -> Iterator[Check]:
    if not declared.is_guarded:
        message = "the pod has no guard, so nothing tells what its engine loaded"
        yield Check("guard", Verdict.UNVERIFIABLE, message=message)
        return
    if isinstance(answer, str):
        yield Check("guard", Verdict.NOT_ASKED, message=answer)
        return
    if answer.status != _OK:
        yield Check("guard", Verdict.DIFFERS, message=f"no guard answers (HTTP {answer.status})")
        return
    about = _json(answer)
    yield _compared("about.pod", pod["metadata"]["name"], about.get("pod", ""))
    identity = about.get("identity") or {}
    yield from (_compared(f"about.{key}", pin, identity.get(key, "")) for key, pin in declared.pins.items())
    yield from _files(declared, about)
    yield from _manifest(declared, about.get("manifest"))


def _files(declared: Declared, about: Object) -> Iterator[Check]:
    if isinstance(declared.files, str):
        yield Check("guard", Verdict.NOT_ASKED, message=declared.files)
        return
    code = code_of(declared.files)
    recorded = (declared.record or {})["data"].get("files", "")
    yield _compared("files", recorded, digest_of(code))
    yield _compared("guard", _digest(code.get(_GUARD_FILE)), about.get("guard", ""))
    yield _compared("settings", _digest(declared.files.get(SETTINGS)), about.get("settings", ""))
    yield from _settings(declared.settings, read_settings(declared.files.get(SETTINGS, "")))


def _settings(meant: Object | str, live: Object) -> Iterator[Check]:
    """Compare what the ConfigMap says, since its pods soon hold to it, with what was declared."""
    if isinstance(meant, str):
        yield Check("settings", Verdict.NOT_ASKED, message=meant)
        return
    expected, actual = dict(_leaves("settings", meant)), dict(_leaves("settings", live))
    for name in sorted({**expected, **actual}):
        yield _compared(name, expected.get(name, ""), actual.get(name, ""))


def _leaves(name: str, value: object) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield name, str(value)
        return
    for key, part in value.items():
        yield from _leaves(f"{name}.{key}", part)


def _manifest(declared: Declared, manifest: Object | None) -> Iterator[Check]:
    if not manifest:
        yield Check("manifest", Verdict.DIFFERS, message="the pod has no manifest of what was fetched")
        return
    model = declared.inputs["model"]
    fetched = {artifact["role"]: artifact for artifact in manifest.get("artifacts", [])}
    weights = fetched.get("checkpoint", {})
    # A tokenizer that lies beside the weights is fetched with them, once.
    beside = fetched.get("tokenizer", weights)
    for role, artifact in (("checkpoint", weights), ("tokenizer", beside)):
        for part in ("source", "revision"):
            yield _compared(f"manifest.{role}.{part}", model[role].get(part, ""), artifact.get(part, ""))
        if model[role].get("source", "").startswith("pvc://"):
            yield _compared(f"manifest.{role}.digest", model[role]["revision"], artifact.get("digest", ""))
    yield from _license(model["license"], weights.get("license") or {})


def _license(declared: Object, fetched: Object) -> Iterator[Check]:
    yield _card(declared["id"], fetched.get("card") or "", fetched.get("name") or "")
    if digest := declared.get("textDigest"):
        yield _compared("manifest.licenseText", digest, fetched.get("textDigest") or "")


def _card(license_id: str, card: str, name: str) -> Check:
    """Compare as the fetch does: what a card says is its `license`, or its `license_name` for `other`."""
    called = ((name or card) if card.casefold() in ("", "other") else card).casefold()
    known = card_names(license_id)
    if called in ("", "other"):
        message = "the model card names no license"
        return Check("manifest.license", Verdict.UNVERIFIABLE, " or ".join(known), called, message)
    verdict = Verdict.AGREES if called in known else Verdict.DIFFERS
    return Check("manifest.license", verdict, " or ".join(known), called)


def _compared(name: str, expected: str, actual: object) -> Check:
    said = str(actual)
    return Check(name, Verdict.AGREES if said == expected else Verdict.DIFFERS, expected, said)


def _digest(text: str | None) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" if text is not None else ""


def _json(answer: Answer) -> Object:
    """Read a JSON object; another answer counts as an empty one, and then nothing agrees."""
    try:
        read = json.loads(answer.body)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def verdict_of(checks: Iterable[Check]) -> Verdict:
    """Return the worst that was found: what differs outweighs what could not be asked."""
    found = {check.verdict for check in checks}
    order = (Verdict.DIFFERS, Verdict.NOT_ASKED, Verdict.AGREES, Verdict.UNVERIFIABLE)
    return next((verdict for verdict in order if verdict in found), Verdict.AGREES)
