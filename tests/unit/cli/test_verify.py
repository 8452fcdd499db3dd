"""What a pod says, held against what was declared."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from builders import DIGEST, Cluster, manifest, merged, model_deployment, observed, queue_class
from pilothouse.cli import verifyforms
from pilothouse.cli.asking import Examined, examine
from pilothouse.cli.verify import Check, Verdict
from pilothouse.errors import Terminal
from pilothouse.plan.observed import Object, ObjectKey, key_of
from unit.cli.fake_cluster import FakeCluster, answer

POD = "qwen-coder-abc"
FILES = {"pilothouse_guard.py": "the guard", "pilothouse_fetch.py": "the fetch", "probes.json": "[]"}


@dataclass
class Scene:
    """A model that serves on one pod which tells the truth; tests change what it says."""

    cluster: FakeCluster
    revision: str
    about: Object
    headers: dict[str, str]
    models: Object

    async def found(self, name: str = "qwen-coder") -> Examined:
        """Ask the pod."""
        self.cluster.answers = {
            (POD, "/v1/models"): answer(self.models, self.headers),
            (POD, "/pilothouse/about"): answer(self.about),
        }
        (pod,) = await examine(self.cluster, "team-ide", name)
        return pod

    def object(self, kind: str) -> Object:
        """The only object of a kind, or the revision's."""
        return next(
            obj
            for key, obj in self.cluster.objects.items()
            if key.kind == kind and (kind in ("Pod", "ModelDeployment") or self.revision in key.name)
        )


def scene(spec: Object | None = None) -> Scene:
    """Everything as the operator makes it, and the pod's true answers."""
    cluster = Cluster(observed(model_deployment(spec), pod_files=FILES))
    status = cluster.settle().status
    children = cluster.seen.children.values()
    revision = status["stable"]["revision"]
    template = next(obj for obj in children if obj["kind"] == "Deployment")["spec"]["template"]
    lane = {"kind": "QueueClass", **queue_class().model_dump(mode="json", by_alias=True)}
    fake = FakeCluster().put({**manifest(spec), "status": status}, pod(template), lane, *children)
    record, files = (
        fake.objects.get(ObjectKey(kind, "team-ide", f"qwen-coder-{revision}"), {}).get("data", {})
        for kind in ("ControllerRevision", "ConfigMap")
    )
    inputs = record["inputs"]
    return Scene(
        fake,
        revision,
        about(revision, inputs, files),
        headers(revision, inputs),
        {"data": [{"id": inputs["model"]["name"]}]},
    )


def pod(template: Object) -> Object:
    """A ready pod of a template."""
    return {
        "kind": "Pod",
        "metadata": {"name": POD, "namespace": "team-ide", **template["metadata"]},
        "spec": template["spec"],
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.7",
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def headers(revision: str, inputs: Object) -> dict[str, str]:
    model = inputs["model"]
    return {
        "x-pilothouse-revision": revision,
        "x-model-revision": model["checkpoint"]["revision"],
        "x-tokenizer-revision": model["tokenizer"]["revision"],
        "x-license-id": model["license"]["id"],
    }


def about(revision: str, inputs: Object, files: Object) -> Object:
    model = inputs["model"]
    fetched = {
        "role": "checkpoint",
        **{name: model["checkpoint"][name] for name in ("source", "revision")},
        "license": {"card": "apache-2.0", "name": None, "textFile": None, "textDigest": None},
        "files": [],
    }
    return {
        "guard": digest(files.get("pilothouse_guard.py", "")),
        "settings": digest(files.get("settings.json", "")),
        "pod": POD,
        "identity": {
            "namespace": "team-ide",
            "deployment": "qwen-coder",
            "revision": revision,
            "model": model["name"],
            "modelRevision": model["checkpoint"]["revision"],
            "tokenizerRevision": model["tokenizer"]["revision"],
            "licenseID": model["license"]["id"],
            "queueClass": "completion",
        },
        "manifest": {"digest": DIGEST, "artifacts": [fetched]},
    }


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def with_engine(s: Scene, **changes: Any) -> None:
    """Let the pod's engine be another than the record's."""
    (engine,) = s.object("Pod")["spec"]["containers"]
    s.cluster.put(merged(s.object("Pod"), {"spec": {"containers": [engine | changes]}}))


def differing(found: Examined) -> list[str]:
    return [check.name for check in found.checks if check.verdict is Verdict.DIFFERS]


async def test_a_pod_that_serves_what_was_declared_agrees_in_all() -> None:
    found = await scene().found()

    assert {check.verdict for check in found.checks} == {Verdict.AGREES}
    assert verifyforms.exit_code([found]) == 0


def says_another_model(s: Scene) -> str:
    s.models["data"][0]["id"] = "gpt-4"
    return "servedModel"


def says_another_commit(s: Scene) -> str:
    s.headers["x-model-revision"] = "0" * 40
    return "header x-model-revision"


def says_no_license(s: Scene) -> str:
    del s.headers["x-license-id"]
    return "header x-license-id"


def says_another_tokenizer(s: Scene) -> str:
    s.about["identity"]["tokenizerRevision"] = "0" * 40
    return "about.tokenizerRevision"


def has_another_guard(s: Scene) -> str:
    s.about["guard"] = DIGEST
    return "guard"


def has_old_settings(s: Scene) -> str:
    s.about["settings"] = DIGEST
    return "settings"


def is_another_pod(s: Scene) -> str:
    s.about["pod"] = "somebody-else"
    return "about.pod"


def has_other_weights(s: Scene) -> str:
    s.about["manifest"]["artifacts"][0]["revision"] = "0" * 40
    return "manifest.checkpoint.revision"


def fetched_another_license(s: Scene) -> str:
    s.about["manifest"]["artifacts"][0]["license"] |= {"card": "other", "name": "qwen-research"}
    return "manifest.license"


def fetched_nothing(s: Scene) -> str:
    s.about["manifest"] = None
    return "manifest"


def has_another_image(s: Scene) -> str:
    with_engine(s, image="evil:1")
    return "pod.image"


def has_other_arguments(s: Scene) -> str:
    with_engine(s, args=["--model=x"])
    return "pod.arguments"


def has_a_status_of_other_pins(s: Scene) -> str:
    pins = {"checkpointRevision": "0" * 40}
    s.cluster.put(merged(s.object("ModelDeployment"), {"status": {"stable": pins}}))
    return "status.checkpointRevision"


def has_a_forged_record(s: Scene) -> str:
    forged = {"data": {"inputs": {"engine": {"image": "vllm/vllm-openai:v0.31.0"}}}}
    s.cluster.put(merged(s.object("ControllerRevision"), forged))
    return "record"


def has_forged_code(s: Scene) -> str:
    s.cluster.put(merged(s.object("ConfigMap"), {"data": {"pilothouse_fetch.py": "pass"}}))
    return "files"


def with_settings(s: Scene, text: str) -> None:
    """Let the ConfigMap have other settings, and the pod hold to them already, as it does a minute later."""
    s.cluster.put(merged(s.object("ConfigMap"), {"data": {"settings.json": text}}))
    s.about["settings"] = digest(text)


def settings(s: Scene) -> Object:
    found: Object = json.loads(s.object("ConfigMap")["data"]["settings.json"])
    return found


def has_looser_settings(s: Scene) -> str:
    with_settings(s, json.dumps(merged(settings(s), {"requests": {"maxOutputTokens": 9999}})))
    return "settings.requests.maxOutputTokens"


def lets_somebody_in(s: Scene) -> str:
    with_settings(s, json.dumps(merged(settings(s), {"tenants": {"friends": {"concurrentRequests": 9}}})))
    return "settings.tenants.friends.concurrentRequests"


def has_settings_that_are_none(s: Scene) -> str:
    with_settings(s, "none")
    return "settings.requests.maxOutputTokens"


def is_of_no_revision_that_serves(s: Scene) -> str:
    s.cluster.put(merged(s.object("ModelDeployment"), {"status": {"stable": {"revision": "0" * 10}}}))
    return "status.revision"


@pytest.mark.parametrize(
    "lie",
    [
        says_another_model,
        says_another_commit,
        says_no_license,
        says_another_tokenizer,
        has_another_guard,
        has_old_settings,
        is_another_pod,
        has_other_weights,
        fetched_another_license,
        fetched_nothing,
        has_another_image,
        has_other_arguments,
        has_a_status_of_other_pins,
        has_a_forged_record,
        has_forged_code,
        has_looser_settings,
        lets_somebody_in,
        has_settings_that_are_none,
        is_of_no_revision_that_serves,
    ],
)
async def test_what_differs_is_named(lie: Callable[[Scene], str]) -> None:
    s = scene()
    name = lie(s)
    found = await s.found()

    assert name in differing(found)
    assert verifyforms.exit_code([found]) == 1
    assert name in verifyforms.as_table([found])


async def test_a_pinned_license_text_must_be_the_fetched_one() -> None:
    s = scene({"model": {"license": {"textDigest": DIGEST}}})
    assert "manifest.licenseText" in differing(await s.found())

    s.about["manifest"]["artifacts"][0]["license"]["textDigest"] = DIGEST
    assert differing(await s.found()) == []


async def test_a_claim_must_have_the_pinned_digest() -> None:
    source = {"source": "pvc://models/qwen", "revision": DIGEST}
    s = scene({"model": {"checkpoint": source, "tokenizer": {"revision": DIGEST}}})
    assert "manifest.checkpoint.digest" in differing(await s.found())

    s.about["manifest"]["artifacts"][0]["digest"] = DIGEST
    assert differing(await s.found()) == []


async def test_a_card_that_names_no_license_can_not_be_verified() -> None:
    s = scene()
    s.about["manifest"]["artifacts"][0]["license"]["card"] = None
    found = await s.found()

    assert [check.name for check in found.checks if check.verdict is Verdict.UNVERIFIABLE] == [
        "manifest.license"
    ]
    assert verifyforms.exit_code([found]) == 0


async def test_a_pod_without_guard_is_said_to_tell_less() -> None:
    s = scene({"engine": {"guard": "Disabled"}})
    s.headers = {}
    found = await s.found()

    (silent,) = [check for check in found.checks if check.verdict is not Verdict.AGREES]
    assert (silent.name, silent.verdict) == ("guard", Verdict.UNVERIFIABLE)
    assert verifyforms.exit_code([found]) == 0


async def test_a_guard_that_does_not_answer_differs() -> None:
    s = scene()
    await s.found()
    s.cluster.answers[POD, "/pilothouse/about"] = answer({}, status=404)
    (found,) = await examine(s.cluster, "team-ide")

    assert differing(found) == ["guard"]


async def test_a_ready_pod_that_can_not_be_asked_is_exit_code_2() -> None:
    s = scene()
    (found,) = await examine(s.cluster, "team-ide")

    assert verifyforms.exit_code([found]) == 2
    assert "connection refused" in verifyforms.as_table([found])


async def test_what_differs_outweighs_what_can_not_be_asked() -> None:
    s = scene()
    has_another_image(s)

    assert verifyforms.exit_code(await examine(s.cluster, "team-ide")) == 1


async def test_a_pod_that_starts_need_not_answer() -> None:
    s = scene()
    s.cluster.put(merged(s.object("Pod"), {"status": {"conditions": []}}))
    (found,) = await examine(s.cluster, "team-ide")

    assert not found.serves
    assert verifyforms.exit_code([found]) == 0


async def test_files_that_one_may_not_read_leave_exit_code_2() -> None:
    s = scene()
    s.cluster.refusals["ConfigMap"] = Terminal("configmaps is forbidden")
    found = await s.found()

    assert verifyforms.exit_code([found]) == 2
    assert "configmaps is forbidden" in verifyforms.as_table([found])


async def test_a_lane_that_is_gone_leaves_the_settings_as_they_are() -> None:
    s = scene()
    del s.cluster.objects[ObjectKey("QueueClass", "", "completion")]

    assert differing(await s.found()) == []


async def test_lanes_that_one_may_not_read_leave_exit_code_2() -> None:
    s = scene()
    s.cluster.refusals["QueueClass"] = Terminal("forbidden")
    found = await s.found()

    assert [check.message for check in found.checks if check.verdict is Verdict.NOT_ASKED] == ["forbidden"]
    assert verifyforms.exit_code([found]) == 2


async def test_a_pod_whose_record_is_gone_differs() -> None:
    s = scene()
    del s.cluster.objects[key_of(s.object("ControllerRevision"))]

    assert differing(await s.found()) == ["record"]


async def test_a_revision_that_gave_way_may_drain() -> None:
    s = scene()
    is_of_no_revision_that_serves(s)
    s.cluster.put(merged(s.object("ModelDeployment"), {"status": {"rollout": {"state": "Draining"}}}))

    assert differing(await s.found()) == []


async def test_no_pod_is_nothing_that_differs() -> None:
    s = scene()
    del s.cluster.objects[ObjectKey("Pod", "team-ide", POD)]
    found = await examine(s.cluster, "team-ide")

    assert verifyforms.exit_code(found) == 0
    assert verifyforms.as_table(found) == "No running pods.\n"


def test_the_fields_of_the_json_form_are_stable() -> None:
    check = Check("guard", Verdict.DIFFERS, "a", "b", "c")
    document: Any = json.loads(verifyforms.as_json([Examined("n", "d", "r", "p", True, (check,))]))  # noqa: FBT003

    assert document.keys() == {"version", "verdict", "pods"}
    (shown,) = document["pods"]
    assert shown.keys() == {"namespace", "deployment", "revision", "pod", "serves", "checks", "verdict"}
    assert shown["checks"] == [
        {"name": "guard", "verdict": "Differs", "expected": "a", "actual": "b", "message": "c"}
    ]
