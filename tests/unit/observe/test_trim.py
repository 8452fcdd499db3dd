"""What of an object the Store holds."""

from pilothouse.observe.trim import trim
from pilothouse.plan.observed import Object


def config_map(code: str) -> Object:
    return {"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"guard.py": code}}


def test_code_that_many_revisions_carry_is_held_once() -> None:
    first, second = (trim(config_map("".join(["x = ", str(1)]))) for _ in range(2))

    assert first["data"]["guard.py"] is second["data"]["guard.py"]


def test_a_config_map_without_data_is_taken_as_it_is() -> None:
    assert trim({"kind": "ConfigMap", "metadata": {"name": "a"}})["data"] == {}
