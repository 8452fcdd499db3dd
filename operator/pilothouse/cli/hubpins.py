"""Finds the pins of a model by the very code that later checks them in the pod: `guard/pilothouse_fetch.py`.

Needs huggingface_hub, which comes with `pilothouse[pin]`.
"""

import json
import tempfile
from pathlib import Path
from typing import Final, cast

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from pilothouse.cli.licenseid import license_id_of
from pilothouse.cli.pins import CLAIM, Found, NoPins
from pilothouse.guard import pilothouse_fetch as fetch
from pilothouse.plan.probes import PROBES, fingerprint

_HUB_ERRORS: Final[tuple[type[Exception], ...]] = (
    *cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__),
    HFValidationError,
)
"""A broken connection is an error of the library's HTTP client, and which that is depends on its version."""

_GATED: Final = "the repository is gated: pods need a token by spec.model.checkpoint.secretRef"
_NO_TRANSFORMERS: Final = (
    "no fingerprint: its tokenizer can be read by transformers alone, which is not installed; "
    "a preflight shows the fingerprint in status.rollout.preflight"
)
_BY_TOKENIZERS: Final = (
    "the fingerprint is that of tokenizer.json; should the engine's transformers read it otherwise, the "
    "fetch ends with TokenizerChanged and its own, which `pin` prints where that transformers is installed"
)


def pins_at_hub(repository: str, ref: str, endpoint: str | None) -> Found:
    """Resolve a branch, tag or commit of the hub, and look at all but the weights. Raises NoPins."""
    token = get_token()
    api = HfApi(endpoint=endpoint, token=token or False)
    try:
        info = api.model_info(repository, revision=ref)
    except _HUB_ERRORS as error:
        raise NoPins(f"{fetch.reason_of(error)}: {fetch.words_of(error)}") from error
    artifact = fetch.Artifact("tokenizer", f"hf://{repository}", str(info.sha))
    code = [file.rfilename for file in info.siblings or () if file.rfilename.endswith(".py")]
    with tempfile.TemporaryDirectory() as cache:
        fetched = _brought(artifact, fetch.Hub(Path(cache), endpoint, token))
        return _found(fetched, (*([_GATED] if info.gated else []), *_code(code)))


def pins_of_folder(folder: Path) -> Found:
    """Hash a folder as the fetch does a mounted claim. Raises NoPins."""
    artifact = fetch.Artifact("checkpoint", str(folder), "", path=str(folder))
    fetched = _brought(artifact, fetch.Hub(folder))
    return _found(fetched, _code([file.path for file in fetched.files if file.path.endswith(".py")]))


def _brought(artifact: fetch.Artifact, hub: fetch.Hub) -> fetch.Fetched:
    request = fetch.Request((artifact,), "", (), None, None, remote_code=False)
    try:
        return fetch.bring_artifact(artifact, request, hub, fetch.Progress())
    except fetch.Failure as failure:
        raise NoPins(f"{failure.reason}: {failure}") from failure
    finally:
        # The folder they write to is about to go.
        fetch.wait_for_threads()


def _found(fetched: fetch.Fetched, warnings: tuple[str, ...]) -> Found:
    try:
        license_ = fetch.license_of(fetched)
    except fetch.Failure as failure:
        raise NoPins(f"{failure.reason}: {failure}") from failure
    license_id = license_id_of(license_.called)
    print_, why_not = _fingerprint(fetched.folder)
    return Found(
        source=fetched.artifact.source if fetched.artifact.path is None else CLAIM,
        revision=fetched.artifact.revision or fetch.digest_of_files(fetched.files),
        license_id=license_id,
        text_digest=license_.text_digest,
        fingerprint=print_,
        warnings=(*warnings, *_silence(license_, license_id), *why_not),
    )


def _code(paths: list[str]) -> tuple[str, ...]:
    if not paths:
        return ()
    run = "it runs only with spec.engine.trustRemoteCode: true, so read it before"
    return (f"there is Python code beside the weights ({', '.join(sorted(paths))}); {run}",)


def _silence(license_: fetch.License, license_id: str | None) -> tuple[str, ...]:
    said = f"only {license_.called!r}" if license_.called else "no license"
    missing = f"the model card names {said}: find out which it is, and declare license.id"
    no_text = "no license text ships with it, so there is no textDigest"
    return (*(() if license_id else (missing,)), *(() if license_.text_digest else (no_text,)))


def _fingerprint(folder: Path) -> tuple[str | None, tuple[str, ...]]:
    """Return the fingerprint, or why there is none: without transformers it must not be another than its."""
    if not fetch.has_transformers() and _needs_transformers(folder):
        return None, (_NO_TRANSFORMERS,)
    found = fingerprint(fetch.token_ids(folder, PROBES, remote_code=False))
    return found, () if fetch.has_transformers() else (_BY_TOKENIZERS,)


def _needs_transformers(folder: Path) -> bool:
    """Tell a tokenizer that is not all in tokenizer.json: transformers itself adds what these fields say."""
    if not (folder / "tokenizer.json").exists():
        return True
    config = folder / "tokenizer_config.json"
    settings = json.loads(config.read_text()) if config.exists() else {}
    return bool(settings.get("add_bos_token") or settings.get("add_eos_token"))
