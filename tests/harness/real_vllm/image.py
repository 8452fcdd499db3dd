"""The real engine as an image: `python -m harness.real_vllm.image` makes it and gives it to the cluster."""

from pathlib import Path

from harness import cluster, oci
from harness.images import MMDEBSTRAP, PACKAGES, PYTHON, Image, Layer
from harness.real_vllm import paths
from harness.real_vllm.install import CONSTRAINTS
from harness.real_vllm.settings import ENVIRONMENT
from harness.shell import HarnessError, run

NAME = f"pilothouse.dev/vllm-cpu:v{paths.VERSION}"
# Besides those that Debian's Python brings.
LIBRARIES = "libgomp1,libnuma1,libstdc++6"
LAUNCHER = Path(__file__).with_name("vllm.sh")


def image() -> Image:
    """Return the image of the installed engine.

    Raises:
        HarnessError: it is installed for another Python than the image's.

    """
    packages = paths.venv() / f"lib/python{PYTHON}/site-packages"
    if not packages.exists():
        raise HarnessError(f"The image's Python is {PYTHON}: make the engine's environment with one like it.")
    mmdebstrap = (*MMDEBSTRAP[:-1], f"--include={LIBRARIES}", MMDEBSTRAP[-1])
    base = Layer("vllm-base", mmdebstrap, lambda tar: _write_base(tar, mmdebstrap))
    content = {PACKAGES: packages, "/usr/local/bin/vllm": LAUNCHER}
    inputs = (paths.VERSION, CONSTRAINTS, LAUNCHER)
    engine = Layer("vllm-cpu", inputs, lambda tar: oci.write_layer(tar, content))
    environment = (*oci.Settings(()).Env, *(f"{name}={value}" for name, value in ENVIRONMENT.items()))
    return Image(NAME, (base, engine), oci.Settings(("vllm", "serve"), User="2000:2000", Env=environment))


def _write_base(tar: Path, mmdebstrap: tuple[str, ...]) -> None:
    run([*mmdebstrap, str(tar)], env={"SOURCE_DATE_EPOCH": "0"})


if __name__ == "__main__":
    cluster.add(image())
