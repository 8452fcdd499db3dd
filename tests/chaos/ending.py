"""How models end: whether all has settled, and what is there then, so that two runs can be compared."""

import asyncio
import json

from children import OF_A_MODEL
from harness.api import Api, Object
from harness.shell import HarnessError
from pilothouse.kinds import CHILDREN_SELECTOR, DEPLOYMENT, MODEL_DEPLOYMENT
from pilothouse.names import DEPLOYMENT as OWNER_LABEL

DEADLINE_SECONDS = 240
OF_ONE_LIFE = {"clusterIP", "clusterIPs"}


async def settled(api: Api, namespace: str, names: set[str]) -> None:
    """Wait until these models are Ready as they are declared now, and nothing else is left.

    Raises:
        HarnessError: that never comes.

    """
    end = asyncio.get_running_loop().time() + DEADLINE_SECONDS
    while missing := await _unsettled(api, namespace, names):
        if asyncio.get_running_loop().time() > end:
            raise HarnessError(f"not settled after {DEADLINE_SECONDS} s: {', '.join(sorted(missing))}")
        await asyncio.sleep(0.5)


async def children(api: Api, namespace: str) -> Object:
    """Every child in the namespace as declared, by kind and name; the namespace's name is taken out."""
    found = {
        f"{kind.name} {child['metadata']['name']}": _declared(child)
        for kind in OF_A_MODEL
        for child in (await api.get(kind.path(namespace), labelSelector=CHILDREN_SELECTOR))["items"]
    }
    comparable: Object = json.loads(json.dumps(found, sort_keys=True).replace(namespace, "namespace"))
    return comparable


async def _unsettled(api: Api, namespace: str, names: set[str]) -> set[str]:
    models = (await api.get(MODEL_DEPLOYMENT.path(namespace)))["items"]
    ready = {model["metadata"]["name"] for model in models if _is_ready(model)}
    running = [
        deployment["metadata"]["labels"][OWNER_LABEL]
        for deployment in (await api.get(DEPLOYMENT.path(namespace)))["items"]
    ]
    doubled = {name for name in running if running.count(name) > 1}
    return (names - ready) | (set(running) ^ names) | doubled


def _is_ready(model: Object) -> bool:
    generation = model["metadata"]["generation"]
    return any(
        condition["type"] == "Ready"
        and condition["status"] == "True"
        and condition["observedGeneration"] == generation
        for condition in model.get("status", {}).get("conditions", [])
    )


def _declared(child: Object) -> Object:
    metadata = child["metadata"]
    return {
        "labels": metadata["labels"],
        "owners": [(owner["kind"], owner["name"]) for owner in metadata["ownerReferences"]],
        "spec": {name: value for name, value in child.get("spec", {}).items() if name not in OF_ONE_LIFE},
        "data": child.get("data"),
    }
