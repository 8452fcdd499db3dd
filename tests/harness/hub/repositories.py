"""What each repository of the hub holds at each commit: the same bytes always, made when asked for."""

import hashlib
import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from pathlib import Path

from harness.hub import qwen2

DATA = Path(__file__).parent / "data"
WEIGHTS = 4096
LICENSES = (
    ("deepseek-ai/*-instruct", "other", "deepseek"),
    ("deepseek-ai/*", "other", "deepseek-license"),
    ("bigcode/starcoder2-*", "bigcode-openrail-m", None),
    ("Qwen/Qwen2.5-Coder-3B*", "other", "qwen-research"),
)
"""Repositories, `license` and `license_name` of their cards, as at the real hub; the first row wins."""


@dataclass(frozen=True)
class File:
    """One file of a repository."""

    path: str
    content: bytes
    large: bool = False
    """Kept in large file storage, so known by its sha256 and served from elsewhere."""

    @cached_property
    def blob(self) -> str:
        """Git's name of the content; of a large file, of its pointer."""
        content = self.pointer if self.large else self.content
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()

    @cached_property
    def sha256(self) -> str:
        """Digest of the content."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        """What git keeps in place of a large file."""
        version = "version https://git-lfs.github.com/spec/v1"
        return f"{version}\noid sha256:{self.sha256}\nsize {len(self.content)}\n".encode()

    @property
    def etag(self) -> str:
        """What the hub calls the content."""
        return self.sha256 if self.large else self.blob


@dataclass(frozen=True)
class Shape:
    """What tests may want otherwise."""

    license: str
    license_name: str | None = None
    weights: int = WEIGHTS
    loadable: bool = False
    license_text: str | None = None
    tokenizer: str = "code"
    card: str | None = None


def shape(repository: str, **changed: object) -> Shape:
    """How the repository is by default, with these fields changed."""
    known = (row[1:] for row in LICENSES if fnmatchcase(repository, row[0]))
    license_id, name = next(known, ("apache-2.0", None))
    return Shape(**({"license": license_id, "license_name": name} | changed))  # type: ignore[arg-type]


def main_commit(repository: str) -> str:
    """The commit of the branch `main`."""
    return hashlib.sha1(f"{repository}@main".encode(), usedforsecurity=False).hexdigest()


@lru_cache(maxsize=64)
def files(repository: str, commit: str, shape: Shape) -> dict[str, File]:
    """All files of a commit by path. Only the weights differ between two commits of one repository."""
    found = [
        File(".gitattributes", b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"),
        File("README.md", card(repository, shape)),
        File("config.json", config(repository)),
        File("generation_config.json", b'{"eos_token_id": 0}\n'),
        File("model.safetensors", safetensors(f"{repository}@{commit}", shape), large=True),
        File("modeling_tiny.py", b'raise SystemExit("code of the repository ran")\n'),
        File("original/consolidated.pth", weights(f"{repository} original", WEIGHTS), large=True),
        File("pytorch_model.bin", weights(f"{repository} pickled", WEIGHTS), large=True),
        File("tokenizer.json", (DATA / f"tokenizer-{shape.tokenizer}.json").read_bytes()),
        File("tokenizer_config.json", TOKENIZER_CONFIG),
        *license_files(shape),
        *chat_template(repository),
    ]
    return {file.path: file for file in sorted(found, key=lambda file: file.path)}


CHAT_TEMPLATE = b"""{% for message in messages -%}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
TOKENIZER_CONFIG = b"""{
  "tokenizer_class": "PreTrainedTokenizerFast",
  "bos_token": null,
  "eos_token": "<|endoftext|>",
  "model_max_length": 32768
}
"""


def card(repository: str, shape: Shape) -> bytes:
    """README.md, whose front matter names the license."""
    if shape.card is not None:
        return shape.card.encode("utf-8", "surrogateescape")
    named = {"license": shape.license, "license_name": shape.license_name}
    lines = [f"{key}: {value}" for key, value in named.items() if value]
    link = ["license_link: LICENSE"] if shape.license_name else []
    head = ["---", *lines, *link, "library_name: transformers", "---"]
    return "\n".join([*head, f"# {repository}", "", "Made for tests.", ""]).encode()


def config(repository: str) -> bytes:
    """config.json of a tiny model."""
    return (json.dumps(qwen2.CONFIG | {"_name_or_path": repository}, indent=2) + "\n").encode()


def chat_template(repository: str) -> list[File]:
    """ChatML, but for StarCoder2, which has none."""
    none = fnmatchcase(repository, "bigcode/starcoder2-*")
    return [] if none else [File("chat_template.jinja", CHAT_TEMPLATE)]


def license_files(shape: Shape) -> list[File]:
    """LICENSE, unless it was taken out."""
    name = shape.license_name or shape.license or "no license"
    text = f"{name}\n\nThis stands in for the text of the license.\n"
    text = text if shape.license_text is None else shape.license_text
    return [File("LICENSE", text.encode())] if text else []


def safetensors(seed: str, shape: Shape) -> bytes:
    """The weights: those of the model, or one tensor of the size that is wanted."""
    if shape.loadable:
        return qwen2.safetensors(seed)
    size = shape.weights
    described = {"weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    head = json.dumps(described, separators=(",", ":")).encode()
    return len(head).to_bytes(8, "little") + head + weights(seed, size)


def weights(seed: str, size: int) -> bytes:
    """Bytes that look random, the same for the same seed."""
    return hashlib.shake_256(seed.encode()).digest(size)
