"""Structured logs on standard error."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import stamina
import structlog

LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]


def configure_logs(service: str, log_format: LogFormat = "auto", level: LogLevel = "info") -> None:
    """Configures all logs of this process, which go to standard error.

    Args:
        service: Value of the field `service` of each line.
        log_format: JSON objects, one a line, or coloured text; `auto` is text on a terminal.
        level: The least level that is logged.
    """
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    # Tracebacks without the values of locals, which structlog adds by default: among them are tensors.
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.ExceptionRenderer(tracebacks), structlog.processors.JSONRenderer()]
        if as_json
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )

    def add_service(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service  # not a contextvar: gRPC handlers and threads have contexts of their own
        return event

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            add_service,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Retries are not logged one by one: the callers log an outage and its end.
    stamina.instrumentation.set_on_retry_hooks(())
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s %(levelname)s %(message)s")
