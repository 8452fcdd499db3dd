"""What an artifact says of its license must be what was declared."""

import hashlib

import pytest

from fetch.pod import COMMIT, MODEL, Node, Object, checkpoint, licensed, tokenizer, wanted
from harness.hub.repositories import files, shape
from harness.hub.thread import HubThread
from pilothouse.plan.licensenames import card_names

DEEPSEEK = licensed("LicenseRef-DeepSeek", "deepseek", "deepseek-license")


def text_digest(repository: str = MODEL) -> str:
    content = files(repository, COMMIT, shape(repository))["LICENSE"].content
    return "sha256:" + hashlib.sha256(content).hexdigest()


def pinned(text: str | None) -> Object:
    return wanted(license=licensed("Apache-2.0", "apache-2.0", text=text))


@pytest.mark.parametrize(
    ("repository", "license_id"),
    [
        (MODEL, "Apache-2.0"),
        ("deepseek-ai/deepseek-coder-6.7b-instruct", "LicenseRef-DeepSeek"),
        ("deepseek-ai/deepseek-coder-6.7b-base", "LicenseRef-DeepSeek"),
        ("bigcode/starcoder2-7b", "LicenseRef-BigCode-OpenRAIL-M"),
        ("Qwen/Qwen2.5-Coder-3B", "LicenseRef-Qwen-Research"),
    ],
)
def test_a_family_s_card_agrees_with_its_license(node: Node, repository: str, license_id: str) -> None:
    node.fetched(
        wanted(
            checkpoint(f"hf://{repository}"),
            license=licensed(license_id, *card_names(license_id), text=text_digest(repository)),
        )
    )


def test_a_card_with_another_license_is_a_mismatch(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, license="llama3.1")
    reason, message = node.failed()

    assert reason == "LicenseMismatch"
    assert "the card calls its license 'llama3.1', declared is Apache-2.0" in message


def test_a_card_with_another_name_for_its_own_license_is_a_mismatch(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, license="other", license_name="deepseek-v9")
    reason, message = node.failed(wanted(license=DEEPSEEK))

    assert reason == "LicenseMismatch"
    assert "'deepseek-v9', declared is LicenseRef-DeepSeek" in message


def test_a_name_beside_a_license_that_the_hub_knows_changes_nothing(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, license="llama3.1", license_name="apache-2.0")

    assert node.failed()[0] == "LicenseMismatch"


def test_letters_of_a_card_may_be_large(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, license="Apache-2.0")
    node.fetched()


def test_a_silent_card_agrees(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, license="")
    (artifact,) = node.fetched()["artifacts"]

    assert artifact["license"]["card"] is None


def test_a_repository_without_a_card_agrees(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, card="")
    node.fetched()


def test_other_agrees_with_a_license_of_its_own(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, license="other")
    node.fetched(wanted(license=DEEPSEEK))


def test_other_does_not_agree_with_a_license_that_has_a_name(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, license="other")

    assert node.failed()[0] == "LicenseMismatch"


def test_the_manifest_tells_what_the_artifact_says(node: Node) -> None:
    asked = wanted(checkpoint("hf://deepseek-ai/deepseek-coder-6.7b-base"), license=DEEPSEEK)
    (artifact,) = node.fetched(asked)["artifacts"]

    assert artifact["license"] == {
        "card": "other",
        "name": "deepseek-license",
        "textFile": "LICENSE",
        "textDigest": text_digest("deepseek-ai/deepseek-coder-6.7b-base"),
    }


def test_a_text_that_was_changed_is_a_mismatch(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, license_text="Apache License, but not for you\n")
    reason, message = node.failed(pinned(text_digest()))

    assert reason == "LicenseMismatch"
    assert "LICENSE has the digest sha256:" in message
    assert f"pinned is {text_digest()}" in message


def test_a_text_that_is_gone_is_a_mismatch(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, license_text="")
    reason, message = node.failed(pinned(text_digest()))

    assert reason == "LicenseMismatch"
    assert f"ships no license text, {text_digest()} is pinned" in message


def test_a_text_that_nobody_pinned_may_be_any(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, license_text="anything\n")
    node.fetched(pinned(None))


def test_the_license_of_a_tokenizer_is_told_and_not_judged(hub: HubThread, node: Node) -> None:
    hub.fault(repository="Qwen/Qwen2.5-Coder-1.5B", license="mit")
    found = node.fetched(wanted(checkpoint(), tokenizer("hf://Qwen/Qwen2.5-Coder-1.5B")))

    assert [artifact["license"]["card"] for artifact in found["artifacts"]] == ["apache-2.0", "mit"]


def card(front: str) -> str:
    return f"---\n{front}\n---\n# A model\n"


def test_the_text_that_the_card_links_to_is_the_one_that_counts(hub: HubThread, node: Node) -> None:
    mit = {"type": "file", "path": "COPYING", "oid": "", "size": 0}
    held = files(MODEL, COMMIT, shape(MODEL))["LICENSE"]
    hub.fault(
        repository=MODEL,
        card=card("license: apache-2.0\nlicense_link: https://example.org/x/LICENSE"),
        entries=[{**mit, "oid": held.blob, "size": len(held.content)}],
    )

    assert node.fetched()["artifacts"][0]["license"]["textFile"] == "LICENSE"


@pytest.mark.parametrize(
    "link", ["../../../../../etc/passwd", "/etc/passwd", "[LICENSE]", "{a: b}", "3", "config.json/.."]
)
def test_a_link_of_the_card_leads_to_no_other_file(hub: HubThread, node: Node, link: str) -> None:
    hub.fault(repository=MODEL, card=card(f"license: apache-2.0\nlicense_link: {link}"))

    assert node.fetched()["artifacts"][0]["license"]["textFile"] == "LICENSE"


@pytest.mark.parametrize(
    "front",
    ["license: [", "- apache-2.0", "license: !!python/object/apply:os.system [ls]", "license: \udcff\udcfe"],
)
def test_a_card_that_can_t_be_read_is_a_mismatch(hub: HubThread, node: Node, front: str) -> None:
    hub.fault(repository=MODEL, card=card(front))
    reason, message = node.failed()

    assert reason == "LicenseMismatch"
    assert "the card can't be read" in message


@pytest.mark.parametrize(
    ("front", "called"),
    [
        ("license: [apache-2.0, mit]", "apache-2.0, mit"),
        ("license: 2", "<int>"),
        ("license: {apache-2.0: yes}", "<dict>"),
        ("license: [[apache-2.0]]", "<list>"),
    ],
)
def test_a_card_that_names_no_single_license_is_a_mismatch(
    hub: HubThread, node: Node, front: str, called: str
) -> None:
    hub.fault(repository=MODEL, card=card(front))
    reason, message = node.failed()

    assert reason == "LicenseMismatch"
    assert f"the card calls its license {called!r}" in message


def test_a_list_of_one_license_is_that_one(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, card=card("license: [apache-2.0]"))
    node.fetched()


def test_a_card_that_would_fill_the_memory_is_a_mismatch(hub: HubThread, node: Node) -> None:
    bomb = "\n".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]" for n in range(30))
    hub.fault(repository=MODEL, card=card(f"a0: &a0 x\n{bomb}\nlicense: *a30"))
    reason, _ = node.failed()

    assert reason == "LicenseMismatch"


def test_a_card_with_a_long_name_is_cut(hub: HubThread, node: Node) -> None:
    hub.fault(repository=MODEL, card=card(f"license: other\nlicense_name: {'x' * 10_000}"))
    reason, message = node.failed()

    assert reason == "LicenseMismatch"
    assert len(message) < 600
