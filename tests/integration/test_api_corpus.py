"""The API server itself refuses what can't be meant, and says which field it is."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientResponseError

from harness.api import Api, Object
from integration.resources import collection
from manifests.corpus import BAD, Case, bad_cases, base_of, patched

pytestmark = pytest.mark.usefixtures("crds")


async def _try(api: Api, manifest: Object) -> None:
    """Create it as `kubectl create --validate=strict --dry-run=server` does."""
    await api.create(collection(manifest), manifest, dryRun="All", fieldValidation="Strict")


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
async def test_what_the_bad_manifests_are_made_from_is_good(api: Api, file: Path) -> None:
    await _try(api, base_of(file))


@pytest.mark.parametrize("case", bad_cases(), ids=lambda case: case.sentence)
async def test_a_bad_manifest_is_refused_with_the_name_of_the_field(api: Api, case: Case) -> None:
    with pytest.raises(ClientResponseError) as refused:
        await _try(api, case.manifest)

    assert case.names in refused.value.message


@pytest.fixture
async def approval(api: Api) -> AsyncIterator[tuple[str, Object]]:
    """A LicenseApproval and its path."""
    [file] = [file for file in BAD if file.stem == "licenseapproval"]
    made = base_of(file)
    path = f"{collection(made)}/{made['metadata']['name']}"
    await api.apply(path, made, "people")
    yield path, made
    await api.delete(path)


async def test_a_license_approval_can_not_be_changed(api: Api, approval: tuple[str, Object]) -> None:
    path, made = approval
    with pytest.raises(ClientResponseError) as refused:
        await api.apply(path, patched(made, {"spec": {"ticket": "LEGAL-124"}}), "people")

    assert "spec can't be changed" in refused.value.message


def test_the_corpus_is_as_wide_as_promised() -> None:
    assert len(bad_cases()) >= 80
