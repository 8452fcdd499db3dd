"""The children of one revision, as full objects for server-side apply."""

from builders import Cluster, by_kind, model_deployment, observed
from pilothouse.plan.lifecycle import Lifecycle
from pilothouse.plan.observed import Object
from pilothouse.plan.plan import plan
from pilothouse.plan.revision import Revision
from pilothouse.plan.workload import revision_objects, stable_service

REVISION = Revision(
    name="0123456789",
    number=3,
    inputs={"model": {}},
    pod_template={"metadata": {}, "spec": {"containers": []}},
    lifecycle=Lifecycle(startup=60, drain=30),
)


def children(replicas: int = 2) -> dict[str, Object]:
    """The revision's children by kind."""
    return {
        obj["kind"]: obj for obj in revision_objects(model_deployment(), REVISION, replicas, annotations={})
    }


def test_every_child_of_a_revision_bears_its_name() -> None:
    assert {obj["metadata"]["name"] for obj in children().values()} == {"qwen-coder-0123456789"}
    assert {obj["metadata"]["labels"]["pilothouse.dev/revision"] for obj in children().values()} == {
        "0123456789"
    }


def test_the_deployment_selects_no_other_revisions_pods() -> None:
    selector = children()["Deployment"]["spec"]["selector"]["matchLabels"]

    assert selector == {"pilothouse.dev/deployment": "qwen-coder", "pilothouse.dev/revision": "0123456789"}
    assert children()["Service"]["spec"]["selector"] == selector
    assert children()["PodDisruptionBudget"]["spec"]["selector"] == {"matchLabels": selector}


def test_the_selector_of_the_deployment_fits_its_pods() -> None:
    (deployment,) = by_kind(plan(observed()), "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]

    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_a_restart_never_takes_capacity_away_first() -> None:
    rolling = children()["Deployment"]["spec"]["strategy"]["rollingUpdate"]

    assert rolling == {"maxSurge": 1, "maxUnavailable": 0}


def test_a_drain_of_a_node_takes_one_pod_at_a_time() -> None:
    assert children()["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_the_record_holds_what_the_deployment_runs() -> None:
    record, deployment = children()["ControllerRevision"], children()["Deployment"]

    assert record["data"]["podTemplate"] == deployment["spec"]["template"]
    assert record["revision"] == 3


def test_the_services_lead_to_the_engines_port_by_name() -> None:
    services = [children()["Service"], stable_service(model_deployment(), "0123456789")]

    for service in services:
        assert service["spec"]["ports"] == [
            {"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}
        ]


def test_the_stable_service_follows_the_stable_revision() -> None:
    service = stable_service(model_deployment(), "9876543210")

    assert service["metadata"]["name"] == "qwen-coder"
    assert service["spec"]["selector"]["pilothouse.dev/revision"] == "9876543210"


def test_the_garbage_collector_deletes_children_with_their_owner_and_waits_for_them() -> None:
    (owner,) = children()["Service"]["metadata"]["ownerReferences"]

    assert owner == {
        "apiVersion": "pilothouse.dev/v1alpha1",
        "kind": "ModelDeployment",
        "name": "qwen-coder",
        "uid": "u1",
        "controller": True,
        "blockOwnerDeletion": True,
    }


def test_names_of_children_fit_a_label_even_for_the_longest_name() -> None:
    cluster = Cluster(observed(model_deployment(name="a" * 52)))
    cluster.settle()

    assert max(len(key.name) for key in cluster.seen.children) == 63
