"""Logs as one JSON object a line, for the one on call; users are told by conditions and Events.

One info line per change, none per reconcile that changed nothing. The keys `controller`, `namespace`, `name`,
`generation` and `reconcile_id` are bound once per reconcile. No line holds a value of a spec: environment
variables may be secrets.
"""

import logging
import sys
from typing import Final, TextIO

import structlog
from structlog.types import EventDict, Processor

_SHARED: Final[tuple[Processor, ...]] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
    structlog.processors.EventRenamer("message"),
)

_FIRST: Final = ("time", "level", "message", "controller", "namespace", "name", "object", "reason", "diff")

_QUIET: Final = {
    "kopf": "ERROR",
    "kopf._cogs.clients": "CRITICAL",
    "aiohttp.access": "WARNING",
    "asyncio": "WARNING",
}
"""Libraries that log each event, request or retry; our own lines tell of an outage."""


def configure(level: str, stream: TextIO = sys.stderr) -> None:
    """Send our lines and those of every library through one JSON formatter, from `level` upwards."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(least)


def _formatter() -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder(allow=()), *_SHARED],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _most_important_first,
            structlog.processors.JSONRenderer(),
        ],
    )


def _most_important_first(_: object, __: str, line: EventDict) -> EventDict:
    return {key: line[key] for key in sorted(line, key=_rank)}


def _rank(key: str) -> int:
    return _FIRST.index(key) if key in _FIRST else len(_FIRST)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
