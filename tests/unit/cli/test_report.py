"""Who serves what, now and on a past day."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from builders import COMMIT, NOW, OTHER_COMMIT, manifest, merged, model_deployment
from pilothouse.cli import reportforms
from pilothouse.cli.report import Report, report, report_now, report_then
from pilothouse.plan.observed import Object
from unit.cli.fake_cluster import FakeCluster

STABLE, CANARY = "7f3a9c1d20", "0c9d8e7f60"
SOURCE = "hf://Qwen/Qwen2.5-Coder-7B-Instruct"
DAY = timedelta(days=1)


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def pins(revision: str, checkpoint: str = COMMIT) -> Object:
    return {
        "revision": revision,
        "checkpointRevision": checkpoint,
        "tokenizerRevision": COMMIT,
        "licenseID": "Apache-2.0",
    }


def served(revision: str, since: datetime, until: datetime | None = None, **more: Any) -> Object:
    """An entry of the history."""
    ended = {"servedUntil": stamp(until)} if until else {}
    return {**pins(revision), "checkpointSource": SOURCE, "servedFrom": stamp(since), **ended, **more}


def record(revision: str, name: str = "qwen-as-it-was") -> Object:
    """The ControllerRevision of a revision."""
    source = {"source": SOURCE, "revision": COMMIT}
    model = {"name": name, "checkpoint": source, "tokenizer": source, "license": {"id": "Apache-2.0"}}
    return {
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"qwen-coder-{revision}",
            "namespace": "team-ide",
            "labels": {"app.kubernetes.io/managed-by": "pilothouse"},
        },
        "data": {"inputs": {"model": model}},
    }


def status(**changes: Any) -> Object:
    """The status of a model that serves under an approval."""
    license_ = {
        "id": "Apache-2.0",
        "decision": "RequireApproval",
        "policy": "corporate",
        "approval": "qwen",
        "ticket": "LEGAL-123",
        "expires": stamp(NOW + 30 * DAY),
    }
    accepted = {
        "type": "LicenseAccepted",
        "status": "True",
        "reason": "LicenseApproved",
        "lastTransitionTime": stamp(NOW),
    }
    base = {
        "phase": "Ready",
        "stable": {**pins(STABLE), "readyReplicas": 2},
        "license": license_,
        "conditions": [accepted],
        "history": [served(STABLE, NOW - DAY)],
    }
    return merged(base, changes)


def now(given: Object, *records: Object) -> Report:
    return report_now([model_deployment(status=given)], records, NOW)


def then(moment: datetime, *history: Object, **metadata: Any) -> Report:
    return report_then([model_deployment(status={"history": list(history)}, **metadata)], moment)


def test_what_serves_is_told_by_its_frozen_record() -> None:
    (row,) = now(status(), record(STABLE)).rows

    assert (row.model, row.checkpoint_source, row.tokenizer_source) == ("qwen-as-it-was", SOURCE, SOURCE)
    assert (row.revision, row.checkpoint_revision, row.license_id) == (STABLE, COMMIT, "Apache-2.0")
    assert (row.state, row.weight, row.phase, row.ready_replicas) == ("stable", 100, "Ready", 2)
    assert row.since == NOW - DAY


def test_the_word_of_the_policies_is_told_for_what_the_spec_declares() -> None:
    (row,) = now(status(), record(STABLE)).rows

    assert (row.license_state, row.policy) == ("LicenseApproved", "corporate")
    assert (row.approval, row.ticket, row.approval_expires) == ("qwen", "LEGAL-123", NOW + 30 * DAY)


def test_another_revision_is_told_under_the_word_by_which_it_began() -> None:
    history = [served(STABLE, NOW - DAY, policy="former", approval="old", ticket="LEGAL-1")]
    other = status(stable=pins(STABLE, OTHER_COMMIT), history=history)
    (row,) = now(other, record(STABLE)).rows

    assert (row.license_state, row.policy, row.ticket) == ("", "former", "LEGAL-1")


def test_a_canary_has_a_row_of_its_own_with_its_share() -> None:
    canary = {**pins(CANARY), "weight": {"desired": 5}}
    rollout = {"state": "Holding", "startedAt": stamp(NOW)}
    found = now(status(canary=canary, rollout=rollout), record(STABLE), record(CANARY, "the-new-name"))

    assert [(row.state, row.weight, row.model) for row in found.rows] == [
        ("stable", 95, "qwen-as-it-was"),
        ("canary", 5, "the-new-name"),
    ]
    assert found.rows[1].since == NOW


def test_what_lost_its_record_is_told_by_the_history() -> None:
    (row,) = now(status(history=[served(STABLE, NOW, model="qwen2.5")])).rows

    assert (row.model, row.checkpoint_source) == ("qwen2.5", SOURCE)


def test_what_serves_nothing_has_no_row() -> None:
    assert now({}).rows == ()


def test_a_past_day_is_told_by_the_history_alone() -> None:
    new = served(CANARY, NOW - DAY)
    old = served(STABLE, NOW - 9 * DAY, NOW - DAY, ticket="LEGAL-1", policy="corporate", model="qwen")
    (row,) = then(NOW - 2 * DAY, new, old).rows

    assert (row.revision, row.model, row.ticket, row.policy) == (STABLE, "qwen", "LEGAL-1", "corporate")
    assert (row.since, row.until) == (NOW - 9 * DAY, NOW - DAY)
    assert (row.weight, row.phase, row.license_state) == (None, "", "")


def test_at_the_moment_of_a_promotion_the_new_revision_is_told() -> None:
    history = served(CANARY, NOW - DAY), served(STABLE, NOW - 9 * DAY, NOW - DAY)

    assert [row.revision for row in then(NOW - DAY, *history).rows] == [CANARY]


def test_before_ten_revisions_the_history_says_that_it_does_not_know() -> None:
    history = [served(f"{n:010}", NOW - n * DAY, NOW - (n - 1) * DAY) for n in range(1, 11)]
    found = then(NOW - 11 * DAY, *history)

    assert found.rows == ()
    assert found.notes[0].message == "unknown: its history of ten revisions begins at 2026-11-13T12:00:00Z"


def test_before_the_first_revision_nothing_is_on_record() -> None:
    found = then(NOW - 2 * DAY, served(STABLE, NOW - DAY))

    assert found.notes[0].message.startswith("nothing is on record before 2026-11-22T12:00:00Z")


def test_while_nothing_served_there_is_no_row_but_a_note() -> None:
    stopped = served(STABLE, NOW - 9 * DAY, NOW - 5 * DAY), served(CANARY, NOW - 20 * DAY, NOW - 9 * DAY)
    found = then(NOW - 2 * DAY, *stopped)

    assert found.rows == ()
    assert found.notes[0].message == f"nothing served then: revision {STABLE} had ended"


def test_what_did_not_exist_yet_is_not_told_of() -> None:
    found = then(NOW - 2 * DAY, creationTimestamp=stamp(NOW - DAY))

    assert (found.rows, found.notes) == ((), ())


def test_a_report_of_a_past_day_says_what_it_can_not_know() -> None:
    assert any("last ten revisions" in remark for remark in reportforms.remarks(then(NOW)))


async def test_a_model_of_another_schema_is_named_not_dropped() -> None:
    broken = {"kind": "ModelDeployment", "metadata": {"name": "old", "namespace": "team-ide"}, "spec": {}}
    cluster = FakeCluster().put({**manifest(), "status": status()}, record(STABLE), broken)
    found = await report(cluster, "", NOW, None)

    assert [row.deployment for row in found.rows] == ["qwen-coder"]
    assert [note.deployment for note in found.notes] == ["old"]


def test_the_fields_of_the_json_form_are_stable() -> None:
    document = json.loads(reportforms.as_json(now(status(), record(STABLE))))

    assert document.keys() == {"version", "asOf", "rows", "notes", "limits"}
    assert (document["version"], document["asOf"]) == (1, "2026-11-23T12:00:00Z")
    assert list(document["rows"][0]) == [
        *("namespace", "deployment", "model", "state", "weight", "revision"),
        *("checkpointSource", "checkpointRevision", "tokenizerSource", "tokenizerRevision"),
        *("licenseID", "licenseState", "policy", "approval", "ticket", "approvalExpires"),
        *("since", "until", "phase", "readyReplicas"),
    ]


def test_csv_has_the_fields_of_the_json_form_and_no_formula() -> None:
    evil = status(license={"ticket": "=HYPERLINK(1)"})
    (row,) = csv.DictReader(io.StringIO(reportforms.as_csv(now(evil, record(STABLE))), newline=""))

    assert row["licenseID"] == "Apache-2.0"
    assert row["since"] == "2026-11-22T12:00:00Z"
    assert row["ticket"] == "'=HYPERLINK(1)"


def test_the_table_has_one_line_for_each_revision() -> None:
    header, line = reportforms.as_table(now(status(), record(STABLE))).splitlines()

    assert header.split()[:4] == ["NAMESPACE", "DEPLOYMENT", "MODEL", "STATE"]
    assert "stable 100%" in line
    assert COMMIT[:12] in line
    assert "LEGAL-123" in line


def test_the_moment_of_a_report_is_in_utc() -> None:
    moment = datetime(2026, 11, 1, tzinfo=UTC)

    assert json.loads(reportforms.as_json(then(moment)))["asOf"] == "2026-11-01T00:00:00Z"
