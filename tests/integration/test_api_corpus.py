"""The API server itself refuses what can't be meant, and says which field it is."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.shell import HarnessError
from manifests.corpus import BAD, Case, bad_cases, base_of, patched

Kubectl = Callable[..., str]

pytestmark = pytest.mark.usefixtures("crds")


def _try(kubectl: Kubectl, manifest: object) -> str:
    return kubectl(
        "create", "--validate=strict", "--dry-run=server", "--filename=-", input=json.dumps(manifest)
    )


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_what_the_bad_manifests_are_made_from_is_good(kubectl: Kubectl, file: Path) -> None:
    _try(kubectl, base_of(file))


@pytest.mark.parametrize("case", bad_cases(), ids=lambda case: case.sentence)
def test_a_bad_manifest_is_refused_with_the_name_of_the_field(kubectl: Kubectl, case: Case) -> None:
    with pytest.raises(HarnessError) as refused:
        _try(kubectl, case.manifest)

    assert case.names in str(refused.value)


def test_a_license_approval_can_not_be_changed(kubectl: Kubectl) -> None:
    [file] = [file for file in BAD if file.stem == "licenseapproval"]
    approval = base_of(file)
    kubectl("apply", "--filename=-", input=json.dumps(approval))

    with pytest.raises(HarnessError, match="spec can't be changed"):
        kubectl(
            "apply", "--filename=-", input=json.dumps(patched(approval, {"spec": {"ticket": "LEGAL-124"}}))
        )

    kubectl("delete", "licenseapproval", approval["metadata"]["name"])


def test_the_corpus_is_as_wide_as_promised() -> None:
    assert len(bad_cases()) >= 80
