"""A log is read while it is written, and a line can be seen before all of it is there."""

from harness.logs import generations, lines, records

FIRST, SECOND = '{"event":"generation","requestId":"a"}', '{"event":"other"}'


def test_a_line_without_its_end_is_not_there_yet() -> None:
    written = f"{FIRST}\n{SECOND}\n"

    assert lines(written) == [FIRST, SECOND]
    assert {tuple(lines(written[:seen])) for seen in range(len(written))} == {(), (FIRST,)}


def test_records_are_read_as_far_as_they_are_there() -> None:
    assert records(f"{FIRST}\n{SECOND[:-1]}") == [{"event": "generation", "requestId": "a"}]


def test_generations_are_told_from_the_engines_own_lines() -> None:
    assert generations(f"INFO: ready\n{FIRST}\n{SECOND}\n{FIRST[:-3]}") == [
        {"event": "generation", "requestId": "a"}
    ]
