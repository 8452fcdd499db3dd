"""What a LicensePolicy denies is refused by the API server itself, by the chart's admission policy."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from harness.api import Object
from harness.kubectl import tool
from harness.paths import REPOSITORY
from harness.shell import HarnessError, run, wait_for
from manifests.corpus import CONDITIONS, base_of
from pilothouse.names import API_VERSION

# Policies decide on every model of the cluster, and one here denies by default.
pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("crds", "admission")]

Kubectl = Callable[..., str]

DENIED = "LicenseRef-Admission-Denied"
GATED = "LicenseRef-Admission-Gated"
OPEN = "LicenseRef-Admission-Open"
RULES = [
    {"ids": [OPEN], "decision": "Allow"},
    {"ids": [GATED], "decision": "RequireApproval", "reason": "hosted use counts as distribution"},
    {"ids": [DENIED], "decision": "Deny", "reason": "non-commercial"},
]


@pytest.fixture(scope="module")
def admission(kubectl: Kubectl, crds: None) -> Iterator[None]:  # noqa: ARG001 -- the kinds are there
    """The chart's admission policies, under a name of their own: an installed operator has brought others."""
    chart, template = REPOSITORY / "charts/pilothouse", "templates/license-admission.yaml"
    rendered = run([tool("helm"), "template", "admission-test", chart, "--show-only", template])
    kubectl("apply", "--filename=-", input=rendered)
    yield
    kubectl("delete", "--filename=-", input=rendered)


class Legal:
    """The policies of one test."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        self.names: list[str] = []

    def set(self, name: str, rules: list[Object], default: str = "Allow") -> None:
        """Write a policy."""
        spec = {"default": default, "rules": rules}
        policy = {
            "apiVersion": API_VERSION,
            "kind": "LicensePolicy",
            "metadata": {"name": name},
            "spec": spec,
        }
        self._kubectl("apply", "--filename=-", input=json.dumps(policy))
        self.names.append(name)

    def withdraw(self, *names: str) -> None:
        """Delete policies."""
        self._kubectl("delete", "licensepolicy", "--ignore-not-found", *names)


class Writer:
    """Somebody who writes ModelDeployments."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._argv = [tool("kubectl"), "--kubeconfig", kubeconfig, "--namespace", namespace]

    def kubectl(self, *argv: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace."""
        return run([*self._argv, *argv], stdin=stdin)

    def create(self, license_id: str, *flags: str) -> str:
        """Create a model and return its name."""
        name = f"model-{uuid4().hex[:8]}"
        self.kubectl("create", "--filename=-", *flags, stdin=json.dumps(model(name, license_id)))
        return name

    def warnings(self, license_id: str) -> str:
        """Try to create a model, and return what kubectl prints beside the answer."""
        argv, document = ["create", "--dry-run=server", "--filename=-"], json.dumps(model("m", license_id))
        done = subprocess.run(
            [*self._argv, *argv], input=document, text=True, capture_output=True, check=True
        )
        return done.stderr

    def refusal(self, license_id: str) -> str:
        """Try to create a model, and return what the API server has against it."""
        try:
            self.create(license_id, "--dry-run=server")
        except HarnessError as error:
            return str(error)
        return ""

    def patch(self, name: str, patch: Object) -> None:
        """Merge-patch a model."""
        self.kubectl("patch", f"md/{name}", "--type=merge", f"--patch={json.dumps(patch)}")


@pytest.fixture
def writer(kubeconfig: Path, namespace: str) -> Writer:
    """Somebody with a namespace."""
    return Writer(kubeconfig, namespace)


@pytest.fixture
def legal(kubectl: Kubectl, writer: Writer) -> Iterator[Legal]:
    """Legal's hand; what it wrote is taken back, and the API server has heard of it."""
    legal = Legal(kubectl)
    yield legal
    if legal.names:
        legal.withdraw(*legal.names)
    heard = (DENIED, OPEN, "MIT")
    wait_for("all policies to be gone", lambda: not any(writer.refusal(each) for each in heard))


@pytest.fixture
def existing(writer: Writer, legal: Legal) -> str:
    """A model with two replicas that was there before its license was denied."""
    name = writer.create(DENIED)
    legal.set("corporate", RULES)
    wait_for("the policy to be in force", lambda: bool(writer.refusal(DENIED)))
    return name


def model(name: str, license_id: str) -> Object:
    """A ModelDeployment of a lane that nobody has, so that no operator starts anything for it."""
    manifest = base_of(CONDITIONS)
    manifest["metadata"] = {"name": name}
    manifest["spec"] |= {"queueClassName": "of-nobody", "replicas": 2}
    manifest["spec"]["model"]["license"] = {"id": license_id}
    return manifest


def in_force(writer: Writer, license_id: str = DENIED) -> str:
    """Wait until a license is refused, and return in which words."""
    said: list[str] = []

    def refused() -> bool:
        said[:] = [writer.refusal(license_id)]
        return bool(said[0])

    wait_for(f"{license_id} to be refused", refused)
    return said[0]


def test_a_denied_license_is_refused_with_policy_rule_and_reason(legal: Legal, writer: Writer) -> None:
    legal.set("corporate", RULES)
    said = in_force(writer)

    for word in ("LicensePolicy corporate", DENIED, "spec.rules[2]", "non-commercial"):
        assert word in said


def test_the_case_of_an_id_opens_nothing(legal: Legal, writer: Writer) -> None:
    legal.set("corporate", RULES)
    in_force(writer)

    assert "non-commercial" in writer.refusal(DENIED.upper())


def test_what_no_rule_names_falls_to_a_default_that_denies(legal: Legal, writer: Writer) -> None:
    legal.set("corporate", RULES, default="Deny")

    assert "spec.default: no rule names it" in in_force(writer, "MIT")
    assert not writer.refusal(OPEN)


def test_the_strictest_of_two_policies_decides(legal: Legal, writer: Writer) -> None:
    legal.set("lenient", [{"ids": [DENIED], "decision": "Allow"}])
    legal.set("strict", RULES)

    assert "LicensePolicy strict" in in_force(writer)


def test_a_changed_policy_decides_from_then_on(legal: Legal, writer: Writer) -> None:
    legal.set("corporate", RULES)
    in_force(writer)
    assert not writer.refusal(OPEN)

    legal.set("corporate", [{"ids": [OPEN], "decision": "Deny", "reason": "terms have changed"}])
    assert "terms have changed" in in_force(writer, OPEN)


def test_without_a_policy_admission_lets_everything_through(legal: Legal, writer: Writer) -> None:
    legal.set("corporate", RULES)
    in_force(writer)
    legal.withdraw("corporate")

    wait_for("the policy to be gone", lambda: not writer.refusal(DENIED))


@pytest.mark.parametrize(
    ("license_id", "says"),
    [
        (GATED, "needs a LicenseApproval of this checkpoint and revision by spec.rules[1]"),
        (f"MIT OR {DENIED}", "is judged part by part at reconcile"),
        (f"{DENIED} WITH LLVM-exception", "is judged part by part at reconcile"),
    ],
)
def test_what_reconcile_decides_is_let_in_with_a_warning(
    legal: Legal, writer: Writer, license_id: str, says: str
) -> None:
    legal.set("corporate", RULES)
    in_force(writer)

    wait_for(f"a warning about {license_id}", lambda: says in writer.warnings(license_id))


@pytest.mark.parametrize(
    "patch",
    [
        {"metadata": {"labels": {"pilothouse.dev/license-id": OPEN}}},
        {"metadata": {"annotations": {"note": "of people"}}},
        {"metadata": {"finalizers": ["example.com/hold"]}},
        {"metadata": {"finalizers": None}},
        {"spec": {"replicas": 1}},
        {"spec": {"replicas": 0}},
        {"spec": {"model": {"license": {"id": OPEN}}}},
    ],
    ids=json.dumps,
)
def test_what_starts_nothing_under_a_denied_license_is_let_through(
    existing: str, writer: Writer, patch: Object
) -> None:
    writer.patch(existing, {"metadata": {"finalizers": ["example.com/held"]}})
    writer.patch(existing, patch)
    writer.patch(existing, {"metadata": {"finalizers": None}})


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": {"replicas": 3}},
        {"spec": {"replicas": 1, "model": {"name": "other"}}},
        {"spec": {"queueClassName": "another-of-nobody"}},
        {"spec": {"model": {"license": {"id": DENIED.lower()}}}},
        {"metadata": {"labels": {"pilothouse.dev/license-id": OPEN}}, "spec": {"replicas": 3}},
    ],
    ids=json.dumps,
)
def test_what_would_start_pods_under_a_denied_license_is_refused(
    existing: str, writer: Writer, patch: Object
) -> None:
    with pytest.raises(HarnessError, match="non-commercial"):
        writer.patch(existing, patch)


def test_the_status_of_what_is_denied_can_be_written(existing: str, writer: Writer) -> None:
    status = json.dumps({"status": {"phase": "Pending"}})
    writer.kubectl("patch", f"md/{existing}", "--subresource=status", "--type=merge", f"--patch={status}")

    assert writer.kubectl("get", f"md/{existing}", "--output=jsonpath={.status.phase}") == "Pending"


def test_what_is_denied_can_be_scaled_down_and_deleted(existing: str, writer: Writer) -> None:
    writer.kubectl("scale", f"md/{existing}", "--replicas=1")
    writer.kubectl("delete", f"md/{existing}", "--timeout=30s")

    assert writer.kubectl("get", "md", "--output=name") == ""
