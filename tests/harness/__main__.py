"""`python -m harness up|down|env|status|images|build`."""

import argparse
import sys
from collections.abc import Sequence

from harness import cluster
from harness.shell import HarnessError, say

COMMANDS = {
    "up": "start the cluster, or finish starting it, and print the path of its kubeconfig",
    "down": "remove the cluster without a trace",
    "env": "print the shell command that makes kubectl use the cluster",
    "status": "print which parts of the cluster run",
    "images": "make the images and print their archives",
    "build": "build, in the cache, everything that `up` needs",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0, or 1 with one sentence on stderr."""
    parser = argparse.ArgumentParser(prog="python -m harness", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text, description=text)
    try:
        return _run(parser.parse_args(argv).command)
    except HarnessError as error:
        say(str(error))
        return 1


def _run(command: str) -> int:
    match command:
        case "up":
            _show(str(cluster.up()))
        case "down":
            cluster.down()
        case "env":
            _show(f"export KUBECONFIG={cluster.kubeconfig()}")
        case "status":
            return _show_status()
        case "images" | "build":
            _show(*map(str, cluster.build()))
    return 0


def _show_status() -> int:
    status = cluster.status()
    _show(*(f"{part:24} {'running' if runs else 'stopped'}" for part, runs in status.items()))
    return 0 if all(status.values()) else 1


def _show(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
