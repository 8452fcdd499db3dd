"""The engine's pod: what vLLM needs, what it may not have, and what people add to it."""

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from builders import COMMIT, DIGEST, OTHER_COMMIT, model_deployment, queue_class
from pilothouse.plan.lifecycle import Lifecycle
from pilothouse.plan.observed import Object
from pilothouse.plan.podtemplate import label_value, pod_template

LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
"""What the API server takes as a label value."""


def template(spec: Object | None = None) -> Object:
    """The pod template of a ModelDeployment with this spec."""
    return pod_template(model_deployment(spec), queue_class(), Lifecycle(startup=60, drain=30), "0123456789")


def fetch(spec: Object | None = None, hub: str = "") -> dict[str, Any]:
    """Variables of its init container by name."""
    deployment = model_deployment(spec)
    lifecycle = Lifecycle(startup=60, drain=30)
    (container,) = pod_template(deployment, queue_class(), lifecycle, "0123456789", hub)["spec"][
        "initContainers"
    ]
    return {entry["name"]: entry for entry in container["env"]}


def engine(spec: Object | None = None) -> Object:
    """Its only container besides."""
    (container,) = template(spec)["spec"]["containers"]
    return dict(container)


def environment(spec: Object | None = None) -> dict[str, Any]:
    """Variables of the engine by name; each is there once."""
    entries = engine(spec)["env"]
    by_name = {entry["name"]: entry for entry in entries}
    assert len(by_name) == len(entries)
    return by_name


@given(st.text(max_size=200))
def test_any_text_makes_a_label_value(text: str) -> None:
    assert LABEL_VALUE.fullmatch(label_value(text))


@given(st.from_regex(LABEL_VALUE, fullmatch=True))
def test_what_is_a_label_value_already_stays(text: str) -> None:
    assert label_value(text) == text


def test_a_license_expression_is_readable_in_the_label() -> None:
    labels = template({"model": {"license": {"id": "(MIT OR Apache-2.0)"}}})["metadata"]["labels"]

    assert labels["pilothouse.dev/license-id"] == "MIT_OR_Apache-2.0"


def test_pods_are_labelled_by_deployment_revision_lane_and_license() -> None:
    assert template()["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "pilothouse",
        "pilothouse.dev/deployment": "qwen-coder",
        "pilothouse.dev/revision": "0123456789",
        "pilothouse.dev/queue-class": "completion",
        "pilothouse.dev/license-id": "Apache-2.0",
    }


def test_the_pod_has_neither_root_nor_a_cluster_token_nor_service_links() -> None:
    spec = template()["spec"]

    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert engine()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def test_shared_memory_is_backed_by_memory() -> None:
    volumes = {volume["name"]: volume for volume in template()["spec"]["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in engine()["volumeMounts"]}

    assert volumes[mounts["/dev/shm"]]["emptyDir"] == {"medium": "Memory"}  # noqa: S108 -- of the pod


def test_what_the_engine_writes_to_is_a_volume() -> None:
    written = {entry["value"] for name, entry in environment().items() if name in {"HOME", "HF_HOME"}}

    assert written <= {mount["mountPath"] for mount in engine()["volumeMounts"]}
    assert environment()["TORCHINDUCTOR_CACHE_DIR"]["value"].startswith(environment()["HOME"]["value"])


def test_every_mount_has_its_volume() -> None:
    model = {
        "checkpoint": {"source": "pvc://models/qwen", "revision": DIGEST},
        "tokenizer": {"source": "oci://registry.example/tokenizer", "revision": DIGEST},
    }
    spec = {"model": model, "storage": {"cacheClaimName": "cache"}}

    volumes = [volume["name"] for volume in template(spec)["spec"]["volumes"]]
    assert volumes == [mount["name"] for mount in engine(spec)["volumeMounts"]]
    assert len(volumes) == len(set(volumes)) == 9


def test_the_cache_is_a_claim_where_one_is_named() -> None:
    (cache,) = [
        volume
        for volume in template({"storage": {"cacheClaimName": "models"}})["spec"]["volumes"]
        if volume["name"] == "cache"
    ]

    assert cache == {"name": "cache", "persistentVolumeClaim": {"claimName": "models"}}


def test_requests_and_limits_are_alike() -> None:
    resources = engine({"resources": {"gpu": {"count": 2}, "cpu": 8, "memory": "64Gi"}})["resources"]

    assert resources["requests"] == resources["limits"]
    assert resources["limits"] == {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "2"}


def test_an_engine_without_a_gpu_asks_for_none() -> None:
    resources = engine({"resources": {"gpu": {"count": 0}}})["resources"]

    assert set(resources["limits"]) == {"cpu", "memory"}


def test_the_hub_token_comes_from_the_secret() -> None:
    spec = {"model": {"checkpoint": {"secretRef": {"name": "hf-token"}}}}

    assert fetch(spec)["HF_TOKEN"] == {
        "name": "HF_TOKEN",
        "valueFrom": {"secretKeyRef": {"name": "hf-token", "key": "HF_TOKEN"}},
    }
    assert "HF_TOKEN" not in fetch()


def test_the_engine_asks_no_hub_and_knows_no_token() -> None:
    spec = {"model": {"checkpoint": {"secretRef": {"name": "hf-token"}}}}

    assert environment(spec)["HF_HUB_OFFLINE"]["value"] == "1"
    assert "HF_TOKEN" not in environment(spec)


def test_the_fetch_gets_no_gpu() -> None:
    (container,) = template({"resources": {"gpu": {"count": 2}}})["spec"]["initContainers"]

    assert set(container["resources"]["limits"]) == {"cpu", "memory"}


def test_the_fetch_is_led_to_the_hub_as_people_say_and_told_nothing_else() -> None:
    mirror = {"name": "HF_ENDPOINT", "value": "https://mirror.example"}
    proxy = {"name": "https_proxy", "value": "http://proxy.example:3128"}
    other = {"name": "VLLM_LOGGING_LEVEL", "value": "DEBUG"}
    found = fetch({"engine": {"env": [mirror, proxy, other]}}, hub="http://hub.hub.svc")

    assert found["HF_ENDPOINT"] == mirror
    assert found["https_proxy"] == proxy
    assert "VLLM_LOGGING_LEVEL" not in found


def test_the_installations_mirror_is_the_default() -> None:
    assert fetch(hub="http://hub.hub.svc")["HF_ENDPOINT"]["value"] == "http://hub.hub.svc"
    assert "HF_ENDPOINT" not in fetch()


def test_the_fetch_is_asked_for_both_artifacts_where_they_lie_apart() -> None:
    apart = {"tokenizer": {"source": "hf://Qwen/Qwen2.5-Coder-7B", "revision": OTHER_COMMIT}}
    asked = json.loads(fetch({"model": apart})["PILOTHOUSE_FETCH"]["value"])

    assert [(each["role"], each["revision"]) for each in asked["artifacts"]] == [
        ("checkpoint", COMMIT),
        ("tokenizer", OTHER_COMMIT),
    ]


def test_the_fetch_is_asked_to_check_what_is_pinned() -> None:
    pins = {
        "license": {"id": "LicenseRef-DeepSeek", "textDigest": DIGEST},
        "tokenizer": {"fingerprint": DIGEST},
    }
    asked = json.loads(fetch({"model": pins})["PILOTHOUSE_FETCH"]["value"])

    assert len(asked["artifacts"]) == 1
    assert asked["license"]["textDigest"] == asked["fingerprint"] == DIGEST
    assert "deepseek-license" in asked["license"]["names"]


def test_a_variable_that_people_set_is_never_dropped() -> None:
    keep_alive = {"name": "VLLM_HTTP_TIMEOUT_KEEP_ALIVE", "value": "60"}
    secret = {"name": "PROXY", "valueFrom": {"secretKeyRef": {"name": "proxy", "key": "url"}}}
    found = environment({"engine": {"env": [keep_alive, secret, {"name": "EMPTY", "value": ""}]}})

    assert found["VLLM_HTTP_TIMEOUT_KEEP_ALIVE"] == keep_alive
    assert found["PROXY"] == secret
    assert found["EMPTY"]["value"] == ""


def test_a_connection_outlives_the_gateways_idle_hour() -> None:
    assert int(environment()["VLLM_HTTP_TIMEOUT_KEEP_ALIVE"]["value"]) > 3600


def test_placement_is_passed_on_and_left_out_where_empty() -> None:
    toleration = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    placement = {
        "nodeSelector": {"zone": "a"},
        "tolerations": [toleration],
        "priorityClassName": "batch",
        "imagePullSecrets": [{"name": "pull"}],
    }

    assert {name: template({"placement": placement})["spec"][name] for name in placement} == placement
    assert not set(placement) & set(template()["spec"])


def test_the_port_has_the_name_that_probes_and_services_use() -> None:
    container = engine()

    assert container["ports"] == [{"name": "http", "containerPort": 8000, "protocol": "TCP"}]
    assert "--port=8000" in container["args"]
    assert container["readinessProbe"]["httpGet"]["port"] == "http"


def test_a_template_shares_nothing_with_another() -> None:
    first, second = template(), template()
    first["spec"]["containers"][0]["env"][0]["value"] = "changed"

    assert second != first
