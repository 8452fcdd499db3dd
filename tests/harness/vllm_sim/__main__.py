"""`python -m harness.vllm_sim serve MODEL ...` is `vllm serve MODEL ...`."""

import sys

from harness.vllm_sim import flags, server


def main() -> None:
    """Read the command line and serve; the other commands of vLLM are not simulated."""
    args = flags.parse(sys.argv[1:])
    if args.command != "serve":
        sys.exit(f"vllm-sim: only `vllm serve` is simulated, not `vllm {args.command}`")
    if args.config:
        sys.exit("vllm-sim: a config file is not simulated, give its flags")
    server.serve(args)


if __name__ == "__main__":
    main()
