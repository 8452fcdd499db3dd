"""The chart as helm renders it: what it grants, and how the operator's pods run."""

import subprocess
from pathlib import Path

import pytest
import yaml

from pilothouse import kinds, names

READ = {"get", "list", "watch"}
WRITE = {"create", "patch", "delete"}
READ_ONLY = (*kinds.RECONCILED, *kinds.REFERENCED, *kinds.GOVERNING)
POD_MONITOR = "monitoring.coreos.com/v1/PodMonitor"
CHART = str(Path(__file__).parents[2] / "charts/pilothouse")


def _helm(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["helm", *args], capture_output=True, text=True, check=False)


def _render(*args: str) -> list[dict]:
    rendered = _helm("template", "pilothouse", CHART, "--namespace", "pilothouse-system", *args)
    return list(yaml.safe_load_all(rendered.stdout))


def _only(objects: list[dict], kind: str) -> dict:
    [found] = [obj for obj in objects if obj and obj["kind"] == kind]
    return found


def _container(objects: list[dict]) -> dict:
    [container] = _only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return container


def test_helm_lint_finds_nothing() -> None:
    linted = _helm("lint", "--strict", CHART)

    assert linted.returncode == 0, linted.stdout


def test_what_is_granted_is_what_the_code_asks_for() -> None:
    rules = _only(_render(), "ClusterRole")["rules"]
    granted = {
        (group, resource): set(rule["verbs"])
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }

    assert granted == {
        **{(kind.group, kind.plural): READ for kind in READ_ONLY},
        **{(kind.group, kind.plural): READ | WRITE for kind in kinds.CHILDREN},
        **{(names.GROUP, f"{kind}/status"): {"patch"} for kind in ("modeldeployments", "tenantquotas")},
        **{(names.GROUP, f"{kind}/finalizers"): {"update"} for kind in ("modeldeployments", "tenantquotas")},
        (kinds.POD.group, kinds.POD.plural): {"list"},
        (kinds.ENDPOINT_SLICE.group, kinds.ENDPOINT_SLICE.plural): {"list"},
        (kinds.EVENT.group, kinds.EVENT.plural): {"create"},
        ("apiextensions.k8s.io", "customresourcedefinitions"): {"list", "watch"},
    }


def test_a_lease_is_granted_in_the_operators_own_namespace_only() -> None:
    objects = _render()

    assert "leases" not in str(_only(objects, "ClusterRole"))
    assert _only(objects, "Role")["metadata"]["namespace"] == "pilothouse-system"


def _secrets(objects: list[dict]) -> list[dict]:
    return [
        rule
        for obj in objects
        if obj and obj["kind"] in {"Role", "ClusterRole"}
        for rule in obj["rules"]
        if "secrets" in rule["resources"]
    ]


def test_no_secret_may_be_read_by_default() -> None:
    assert _secrets(_render()) == []


def test_the_secrets_that_are_named_may_be_read_in_the_operators_own_namespace_only() -> None:
    objects = _render("--set", "prometheusTokenSecrets={a,b}")
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a", "b"], "verbs": ["get"]}

    assert _secrets(objects) == _secrets([_only(objects, "Role")]) == [rule]


@pytest.mark.parametrize(
    ("args", "count"),
    [
        ((), 0),
        (("--api-versions", POD_MONITOR), 1),
        (("--api-versions", POD_MONITOR, "--set", "podMonitor.enabled=false"), 0),
        (("--set", "podMonitor.enabled=true"), 1),
    ],
    ids=["without the kind", "with the kind", "unwanted", "forced"],
)
def test_engines_are_monitored_where_the_cluster_has_the_kind_or_a_value_says_so(
    args: tuple[str, ...], count: int
) -> None:
    assert [obj["kind"] for obj in _render(*args) if obj].count("PodMonitor") == count


def test_the_pod_monitor_selects_the_engines_and_keeps_the_labels_that_queries_need() -> None:
    monitor = _only(_render("--set", "podMonitor.enabled=true"), "PodMonitor")["spec"]
    labels = {names.MANAGED_BY: names.MANAGED_BY_VALUE}

    assert monitor["selector"]["matchLabels"] == labels
    assert monitor["selector"]["matchExpressions"] == [{"key": names.REVISION, "operator": "Exists"}]
    assert monitor["podTargetLabels"] == [names.DEPLOYMENT, names.REVISION]
    assert [endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]] == [names.ENGINE_PORT_NAME]


def test_labels_by_which_a_prometheus_selects_are_put_on_the_pod_monitor() -> None:
    monitor = _only(_render("--set", "podMonitor.enabled=true,podMonitor.labels.release=p"), "PodMonitor")

    assert monitor["metadata"]["labels"]["release"] == "p"


def test_two_replicas_run_by_default() -> None:
    assert _only(_render(), "Deployment")["spec"]["replicas"] == 2


def test_the_operator_runs_without_any_privilege() -> None:
    objects = _render()
    pod = _only(objects, "Deployment")["spec"]["template"]["spec"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert _container(objects)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_pods_are_those_that_service_and_disruption_budget_select() -> None:
    objects = _render()
    labels = _only(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]

    assert _only(objects, "Service")["spec"]["selector"].items() <= labels.items()
    assert _only(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_a_mirror_of_the_hub_is_told_to_the_operator_only_where_there_is_one() -> None:
    name = "PILOTHOUSE_HUB_ENDPOINT"
    mirrored = _container(_render("--set", "hub.endpoint=https://hub.example.com"))["env"]

    assert {"name": name, "value": "https://hub.example.com"} in mirrored
    assert name not in str(_container(_render())["env"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("replica", "3"),
        ("logLevel", "loud"),
        ("image.pullPolicy", "Sometimes"),
        ("replicas", "-1"),
        ("hub.endpoint", "hub"),
        ("queueClasses.create", "perhaps"),
        ("network.allowedNamespaces", "{Team_IDE}"),
    ],
)
def test_a_value_that_means_nothing_is_refused_by_name(field: str, value: str) -> None:
    rendered = _helm("template", "pilothouse", CHART, "--set", f"{field}={value}")

    assert rendered.returncode != 0
    assert field.rpartition(".")[2] in rendered.stderr


def _admission(objects: list[dict]) -> dict[str, list[dict]]:
    kinds_ = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    return {kind: [obj for obj in objects if obj and obj["kind"] == kind] for kind in kinds_}


def test_every_license_policy_decides_at_admission() -> None:
    found = _admission(_render())
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in found["ValidatingAdmissionPolicy"]}
    bindings = {
        each["spec"]["policyName"]: each["spec"] for each in found["ValidatingAdmissionPolicyBinding"]
    }

    assert policies.keys() == bindings.keys() == {"pilothouse-licenses", "pilothouse-licenses-warnings"}
    for binding in bindings.values():
        assert binding["paramRef"] == {"selector": {}, "parameterNotFoundAction": "Allow"}
    assert bindings["pilothouse-licenses"]["validationActions"] == ["Deny"]
    assert policies["pilothouse-licenses"]["failurePolicy"] == "Fail"
    assert bindings["pilothouse-licenses-warnings"]["validationActions"] == ["Warn"]


def test_admission_leaves_the_status_and_the_scale_alone() -> None:
    for policy in _admission(_render())["ValidatingAdmissionPolicy"]:
        [rule] = policy["spec"]["matchConstraints"]["resourceRules"]
        assert (rule["resources"], rule["operations"]) == (["modeldeployments"], ["CREATE", "UPDATE"])


def test_admission_can_be_left_to_others() -> None:
    assert not any(_admission(_render("--set", "licenses.admission=false")).values())


LANES = yaml.safe_load_all((Path(CHART).parents[1] / "examples/queue-classes.yaml").read_text())


def _lanes(*args: str) -> list[dict]:
    return [obj for obj in _render(*args) if obj and obj["kind"] == "QueueClass"]


def test_the_lanes_of_the_examples_are_ready_made() -> None:
    made = {lane["metadata"]["name"]: lane["spec"] for lane in _lanes()}

    assert made == {lane["metadata"]["name"]: lane["spec"] for lane in LANES}
    assert made.keys() == {"completion", "synthesis"}


def test_no_helm_command_takes_a_lane_away() -> None:
    annotations = [lane["metadata"]["annotations"] for lane in _lanes()]

    assert annotations == [{"helm.sh/resource-policy": "keep"}] * 2


def test_lanes_can_be_left_to_the_platform_team() -> None:
    assert _lanes("--set", "queueClasses.create=false") == []


def _environment(*args: str) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in _container(_render(*args))["env"]}


def test_a_license_policy_is_demanded_only_where_a_value_says_so() -> None:
    demanded = "PILOTHOUSE_REQUIRE_LICENSE_POLICY"

    assert demanded not in _environment()
    assert _environment("--set", "licenses.requirePolicy=true")[demanded] == "true"


def test_a_tenant_quota_is_demanded_only_where_a_value_says_so() -> None:
    demanded = "PILOTHOUSE_REQUIRE_TENANT_QUOTA"

    assert demanded not in _environment()
    assert _environment("--set", "quotas.require=true")[demanded] == "true"


def test_the_namespaces_that_may_reach_engines_are_told_to_the_operator_only_where_there_are_any() -> None:
    allowed = "PILOTHOUSE_ALLOWED_NAMESPACES"

    assert allowed not in _environment()
    assert (
        _environment("--set", "network.allowedNamespaces={gateways,prometheus}")[allowed]
        == "gateways,prometheus"
    )
