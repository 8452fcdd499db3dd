import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.act import lists

METADATA = {"resourceVersion": "42"}


@pytest.mark.parametrize(
    "text",
    [
        '{"kind":"ServiceList","metadata":{"resourceVersion":"42"},"items":[{"a":[1]},{"b":"]"}]}',
        '{"apiVersion":"v1","items":[{"a":[1]},{"b":"]"}],"kind":"XList","metadata":{"resourceVersion":"42"}}',
        '{"metadata": {"resourceVersion": "42"}, "items": [ {"a": [1]} ,\n {"b": "]"} ] }\n',
    ],
)
def test_built_in_and_custom_resources_write_their_lists_in_another_order(text: str) -> None:
    answer = lists.read(text)
    assert answer.resource_version == 42
    assert list(answer.items) == [{"a": [1]}, {"b": "]"}]


@pytest.mark.parametrize("items", ["[]", "null"])
def test_a_list_of_nothing_has_a_version(items: str) -> None:
    answer = lists.read(f'{{"metadata":{{"resourceVersion":"42"}},"items":{items}}}')
    assert (answer.resource_version, list(answer.items)) == (42, [])


def test_what_is_no_list_is_refused() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        lists.read("<html>")


_OBJECTS = st.dictionaries(
    st.text(),
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    ),
    max_size=3,
)


@given(st.lists(_OBJECTS, max_size=3), st.booleans())
def test_any_objects_are_read_as_they_were_written(objects: list[dict[str, Any]], items_first: bool) -> None:  # noqa: FBT001
    fields = [("metadata", METADATA), ("items", objects)]
    text = json.dumps(dict(reversed(fields) if items_first else fields))
    assert list(lists.read(text).items) == objects
