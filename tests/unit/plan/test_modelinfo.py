"""What a plan tells of the revisions that run."""

from builders import COMMIT, OTHER_COMMIT, Cluster
from pilothouse.plan.modelinfo import ModelInfo
from pilothouse.telemetry.metrics import MODEL_LABELS

NEW_WEIGHTS = {"model": {"checkpoint": {"revision": OTHER_COMMIT}}}


def test_stable_is_told_with_its_pins_license_and_lane() -> None:
    cluster = Cluster()
    plan = cluster.settle()

    assert plan.serves == (
        ModelInfo(
            namespace="team-ide",
            deployment="qwen-coder",
            model="qwen2.5-coder-7b",
            revision=plan.status["stable"]["revision"],
            state="stable",
            checkpoint="hf://Qwen/Qwen2.5-Coder-7B-Instruct",
            checkpoint_revision=COMMIT,
            tokenizer_revision=COMMIT,
            license_id="Apache-2.0",
            queue_class="completion",
        ),
    )


def test_a_canary_is_told_beside_stable_until_it_is_stable() -> None:
    cluster = Cluster()
    cluster.settle()
    cluster.change(NEW_WEIGHTS).begin()
    assert [info.state for info in cluster.plan.serves or ()] == ["stable", "canary"]

    (after,) = cluster.roll_out().serves or ()
    assert (after.state, after.checkpoint_revision) == ("stable", OTHER_COMMIT)


def test_its_fields_are_the_labels_of_the_metric() -> None:
    assert ModelInfo._fields == MODEL_LABELS
