"""Container images without a registry or a daemon: an OCI image layout in one tar file.

Layers are uncompressed and carry no times or owners, so the same content gives the same digest.
The format: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CONFIG = "application/vnd.oci.image.config.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EXECUTABLE = 0o755
READABLE = 0o644


@dataclass(frozen=True)
class Settings:
    """How a container of the image starts, in the names of the image specification."""

    Entrypoint: tuple[str, ...]
    User: str = "65532:65532"
    WorkingDir: str = "/"
    Env: tuple[str, ...] = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)


def write_layer(layer: Path, content: Mapping[str, Path]) -> None:
    """Write a layer tar.

    Args:
        layer: the file to write.
        content: absolute path in the image to the file or folder that is to be there.

    """
    with tarfile.open(layer, "w") as tar:
        for target, source in sorted(content.items()):
            for path in sorted([source, *source.rglob("*")]):
                name = Path(target.lstrip("/")) / path.relative_to(source)
                tar.add(path, arcname=str(name), recursive=False, filter=_anonymous)


def write_image(archive: Path, name: str, layers: Sequence[Path], settings: Settings) -> None:
    """Write an image archive, as `ctr images import` and `kind load image-archive` read it.

    Args:
        archive: the file to write.
        name: the image's full name with its tag, such as `pilothouse.dev/pause:1`; without a tag, the image
            is known by its digest alone.
        layers: layer tars, the lowest first.
        settings: the entry point and its surroundings.

    """
    descriptors = [_descriptor(LAYER, layer) for layer in layers]
    digests = [descriptor["digest"] for descriptor in descriptors]
    config = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": asdict(settings),
            "rootfs": {"type": "layers", "diff_ids": digests},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor(CONFIG, config),
            "layers": descriptors,
        }
    )
    entry = _descriptor(MANIFEST, manifest)
    known_as = name if ":" in name.rpartition("/")[2] else f"{name}@{entry['digest']}"
    entry["annotations"] = {"io.containerd.image.name": known_as}
    with tarfile.open(archive, "w") as tar:
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}))
        for blob in (manifest, config, *dict(zip(digests, layers, strict=True)).values()):
            _add(tar, f"blobs/sha256/{digest(blob)}", blob)


def digest_of_image(archive: Path) -> str:
    """Return what pins the image in an archive: `sha256:` and the digest of its manifest."""
    with tarfile.open(archive) as tar:
        [entry] = json.load(tar.extractfile("index.json"))["manifests"]
    return str(entry["digest"])


def digest(blob: bytes | Path) -> str:
    """Return the SHA-256 of bytes, or of a file's content, in hexadecimal."""
    if isinstance(blob, bytes):
        return hashlib.sha256(blob).hexdigest()
    with blob.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _descriptor(media_type: str, blob: bytes | Path) -> dict[str, Any]:
    size = len(blob) if isinstance(blob, bytes) else blob.stat().st_size
    return {"mediaType": media_type, "digest": f"sha256:{digest(blob)}", "size": size}


def _add(tar: tarfile.TarFile, name: str, blob: bytes | Path) -> None:
    info = tarfile.TarInfo(name)
    if isinstance(blob, bytes):
        info.size = len(blob)
        tar.addfile(info, io.BytesIO(blob))
        return
    info.size = blob.stat().st_size
    with blob.open("rb") as file:
        tar.addfile(info, file)


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    info.mode = EXECUTABLE if info.isdir() or info.mode & 0o100 else READABLE
    return info


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
