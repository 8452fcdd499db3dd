"""`python -m harness.hub --port 80` serves the hub until it is stopped."""

import argparse

from aiohttp import web

from harness.hub.server import app


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="hub", description=__doc__)
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104 -- it serves a cluster of tests
    parser.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args()
    web.run_app(app(), host=arguments.host, port=arguments.port, access_log=None, shutdown_timeout=1)


if __name__ == "__main__":
    main()
