"""The manifests of examples/families, and what docs/families.md tells clients to send."""

import json
import re
from typing import Any

import yaml

from e2e.manifests import IMAGE
from harness.paths import REPOSITORY

Object = dict[str, Any]

EXAMPLES = REPOSITORY / "examples"
PAGE = REPOSITORY / "docs/families.md"
RESOURCES = {"gpu": {"count": 0}, "cpu": "100m", "memory": "256Mi"}


def manifests(family: str, namespace: str) -> list[Object]:
    """The models of one file, on the stand-in engine and in a namespace of the test's own."""
    documents = yaml.safe_load_all((EXAMPLES / f"families/{family}.yaml").read_text())
    return [_elsewhere(document, namespace) for document in documents]


def fill_in_the_middle(model: str) -> Object:
    """The request that the page shows for this model."""
    blocks = re.findall(r'^    (\{"model".*?\})$', PAGE.read_text(), re.MULTILINE | re.DOTALL)
    bodies = {body["model"]: body for body in map(json.loads, blocks)}
    return bodies[model]


def _elsewhere(document: Object, namespace: str) -> Object:
    """Replace what is the platform's and not the model's: image, resources and claim."""
    spec = document["spec"] | {"resources": RESOURCES, "storage": {}}
    spec["engine"] = spec["engine"] | {"image": IMAGE}
    return document | {"metadata": document["metadata"] | {"namespace": namespace}, "spec": spec}
