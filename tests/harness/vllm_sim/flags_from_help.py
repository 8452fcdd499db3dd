"""Makes flags.json out of the text that `vllm serve --help=all` prints.

python -m harness.vllm_sim.flags_from_help serve-help-0.32.0.txt > flags.json
"""

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

OPTION = re.compile(r"^  (-.*)$")
GROUP = re.compile(r"^(\S.*):$")
HELP_COLUMN = 24
DEFAULT = re.compile(r"\(default: (.*)\)\s*$", re.DOTALL)

# The help does not give the type of a flag whose default is None.
INTEGERS = {
    "--api-server-count",
    "--block-size",
    "--cpu-distributed-timeout-seconds",
    "--cudagraph-capture-sizes",
    "--data-parallel-rank",
    "--data-parallel-rpc-port",
    "--data-parallel-size-local",
    "--data-parallel-start-rank",
    "--distributed-timeout-seconds",
    "--grpc-port",
    "--mamba-block-size",
    "--max-cpu-loras",
    "--max-cudagraph-capture-size",
    "--max-log-len",
    "--max-lora-cls-labels",
    "--max-lora-rank",
    "--max-num-active-seqs",
    "--max-num-queued-reqs",
    "--max-num-seqs",
    "--max-parallel-loading-workers",
    "--num-gpu-blocks-override",
    "--numa-bind-nodes",
    "--prefix-match-unit",
    "--spec-tokens",
}
FLOATS = {"--kv-offloading-size", "--video-pruning-rate"}
# The help does not say either that these three take a JSON list.
JSON_LISTS = {"--allowed-headers", "--allowed-methods", "--allowed-origins"}


def entries(text: str) -> list[tuple[str, str, str]]:
    """Every option of the help as (group, invocation, description)."""
    found: list[tuple[str, str, list[str]]] = []
    group = ""
    for line in text.splitlines():
        if heading := GROUP.match(line):
            group = heading[1]
        elif option := OPTION.match(line):
            invocation, _, description = option[1].partition("  ")
            found.append((group, invocation, [description]))
        elif found and line.startswith(" " * HELP_COLUMN):
            found[-1][2].append(line.strip())
    return [(group, invocation, " ".join(lines).strip()) for group, invocation, lines in found]


def default_of(description: str) -> Any:
    """The default that the description ends with; text that is no literal stays text."""
    match = DEFAULT.search(description)
    if match is None:
        return None
    try:
        value = ast.literal_eval(match[1])
        return sorted(value) if isinstance(value, set) else value
    except (SyntaxError, ValueError):
        return match[1]


def type_of(name: str, description: str, default: object) -> str:
    """Name of the function in flags.py that reads the flag's value."""
    if "'auto' as a special value" in description:
        return "human_readable_int_or_auto"
    if "human-readable integers" in description:
        return "human_readable_int"
    if "valid JSON string" in description or name in JSON_LISTS:
        return "json"
    if name in INTEGERS or type(default) is int:
        return "int"
    if name in FLOATS or type(default) is float:
        return "float"
    return "str"


def nargs_of(invocation: str) -> str | None:
    """How many values the flag takes: `+`, `?`, or None for exactly one."""
    if "...]" in invocation:
        return "+"
    return "?" if re.search(r" \[[A-Z_]+\]$", invocation) else None


def flag(group: str, invocation: str, description: str) -> dict[str, Any]:
    """One row of flags.json."""
    # A choice list has commas of its own; only a comma before a dash separates names.
    spellings = re.split(r", (?=-)", invocation)
    names = [spelling.split(" ")[0] for spelling in spellings]
    row: dict[str, Any] = {"names": [name for name in names if not name.startswith("--no-")], "group": group}
    if any(name.startswith("--no-") for name in names):
        return {**row, "kind": "boolean", "default": default_of(description)}
    if invocation in names or all(spelling in names for spelling in spellings):
        return {**row, "kind": "switch", "default": False}
    row["kind"] = "append" if names[0] == "--middleware" else "value"
    row["default"] = default_of(description)
    row["type"] = type_of(names[0], description, row["default"])
    if row["type"] == "json" and isinstance(row["default"], str):
        row["default"] = None  # the printed form of an object of vLLM's
    if nargs := nargs_of(spellings[0]):
        row["nargs"] = nargs
    if choices := re.search(r"\{([^}]*)\}", spellings[0]):
        row["choices"] = choices[1].split(",")
    return row


def main() -> None:
    """Write one flag a line, so that a new version of vLLM shows as a readable diff."""
    rows = [flag(*entry) for entry in entries(Path(sys.argv[1]).read_text()) if entry[1] != "-h, --help"]
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    sys.stdout.write(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
