from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import manifest
from fake_kube import FakeKube
from pilothouse.act.status import merge_patch, write_status
from pilothouse.errors import Outdated
from pilothouse.plan.observed import key_of

_VALUES = st.recursive(
    st.one_of(st.integers(), st.text(max_size=3), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=10,
)
_STATUSES = st.dictionaries(st.sampled_from("abcd"), _VALUES, max_size=4)


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7386, word for word."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


@given(_STATUSES, _STATUSES)
def test_a_patch_leads_from_one_status_to_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert _merged(before, merge_patch(before, after)) == after


@given(_STATUSES)
def test_equal_statuses_need_no_patch(status: dict[str, Any]) -> None:
    assert merge_patch(status, status) == {}


@pytest.mark.parametrize("before", [None, {}])
async def test_a_first_status_is_written(before: dict[str, Any] | None) -> None:
    kube = FakeKube()
    live = {**kube.put(manifest()), "status": before}
    answer = await write_status(kube, live, {"phase": "Ready"})
    assert answer
    assert answer["status"] == {"phase": "Ready"}
    assert kube.requests == [("patch_status", key_of(live))]


async def test_an_unchanged_status_costs_no_request() -> None:
    kube = FakeKube()
    live = kube.put({**manifest(), "status": {"phase": "Ready"}})
    assert await write_status(kube, live, {"phase": "Ready"}) is None
    assert kube.requests == []


async def test_a_status_is_not_written_over_a_change_that_was_not_seen() -> None:
    kube = FakeKube()
    seen = kube.put(manifest())
    kube.put(manifest({"replicas": 3}))
    with pytest.raises(Outdated):
        await write_status(kube, seen, {"phase": "Ready"})
    assert "status" not in kube.objects[key_of(seen)]
