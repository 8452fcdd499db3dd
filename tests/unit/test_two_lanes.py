"""The example of two lanes: one checkpoint, and nothing that a request of one lane shares with the other."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import Cluster, by_kind, observed
from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.api.queueclass import QueueClass

EXAMPLES = Path(__file__).parents[2] / "examples"
LANES = {"completion", "synthesis"}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((EXAMPLES / name).read_text()))


@pytest.fixture(scope="module")
def planned() -> dict[str, Cluster]:
    """What runs for the model of each lane."""
    classes = {one["metadata"]["name"]: QueueClass.parse(one) for one in documents("queue-classes.yaml")}
    found = {}
    for document in documents("two-lanes.yaml"):
        deployment = ModelDeployment.parse(document)
        lane = deployment.spec.queue_class_name
        found[lane] = Cluster(observed(deployment, queue_class=classes[lane]))
        found[lane].settle()
    return found


def test_both_lanes_serve_the_same_model(planned: dict[str, Cluster]) -> None:
    assert planned.keys() == LANES
    one, other = (cluster.seen.deployment.spec.model for cluster in planned.values())
    assert one == other


def test_the_lanes_share_no_pod_and_no_path(planned: dict[str, Cluster]) -> None:
    selectors, paths = [], []
    for cluster in planned.values():
        selectors += [obj["spec"]["selector"]["matchLabels"] for obj in by_kind(cluster.plan, "Deployment")]
        (route,) = by_kind(cluster.plan, "HTTPRoute")
        paths += [match["path"]["value"] for rule in route["spec"]["rules"] for match in rule["matches"]]
    assert len({frozenset(selector.items()) for selector in selectors}) == len(selectors) == 2
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("lane", sorted(LANES))
def test_the_path_names_the_lane(planned: dict[str, Cluster], lane: str) -> None:
    route = planned[lane].seen.deployment.spec.route
    assert route
    assert route.path_prefix.startswith(f"/{lane}/")
