"""The fixtures of the golden tests: manifests as people write them, read as the operator sees them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from builders import observed
from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.api.queueclass import QueueClass
from pilothouse.plan.observed import Object, Observed

DATA = Path(__file__).parent / "data"


class _Dumper(yaml.SafeDumper):
    """Writes a value that stands in two places twice: a golden file has no anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 -- PyYAML's signature
        return True


def seen(fixture: str) -> Observed:
    """What one reconcile sees of `data/<fixture>.yaml`: a QueueClass and a ModelDeployment."""
    lane, deployment = yaml.safe_load_all((DATA / f"{fixture}.yaml").read_text())
    # The API server adds these.
    deployment["metadata"] |= {"uid": "00000000-0000-0000-0000-000000000001", "generation": 1}
    return observed(ModelDeployment.parse(deployment), queue_class=QueueClass.parse(lane))


def as_yaml(objects: Iterable[Object]) -> str:
    """Objects as one stream of documents."""
    return yaml.dump_all(list(objects), Dumper=_Dumper, sort_keys=False, width=200)
