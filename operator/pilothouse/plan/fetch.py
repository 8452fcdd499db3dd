"""What the init container is asked to bring and to check: the pins of the spec, as one line of JSON."""

import json

from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.plan.licensenames import card_names
from pilothouse.plan.observed import Object
from pilothouse.plan.sources import Artifact, checkpoint_of, tokenizer_of


def fetch_request(deployment: ModelDeployment) -> str:
    """Return PILOTHOUSE_FETCH; `guard/pilothouse_fetch.py` says what each field means."""
    model = deployment.spec.model
    request = {
        "artifacts": [_artifact(artifact) for artifact in _wanted(deployment)],
        "license": {
            "id": model.license.id,
            "names": card_names(model.license.id),
            "textDigest": model.license.text_digest,
        },
        "fingerprint": model.tokenizer.fingerprint,
        "remoteCode": deployment.spec.engine.trust_remote_code,
    }
    return json.dumps(request, separators=(",", ":"))


def _wanted(deployment: ModelDeployment) -> list[Artifact]:
    """Return both artifacts, or one where the tokenizer lies beside the weights."""
    checkpoint, tokenizer = checkpoint_of(deployment), tokenizer_of(deployment)
    together = (checkpoint.source, checkpoint.revision) == (tokenizer.source, tokenizer.revision)
    return [checkpoint] if together else [checkpoint, tokenizer]


def _artifact(artifact: Artifact) -> Object:
    wanted = {"role": artifact.role, "source": str(artifact.source), "revision": artifact.revision}
    return wanted if artifact.is_hub else {**wanted, "path": artifact.location}
