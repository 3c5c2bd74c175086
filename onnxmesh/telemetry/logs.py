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
    """Sends every log of this process to standard error.

    Args:
        service: Stands in each line as `service`.
        log_format: One JSON object a line, or coloured text; `auto` is text on a terminal.
        level: What is below it is left out.
    """
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    # Tracebacks without the values of locals, which structlog adds by default: among them are tensors.
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.ExceptionRenderer(tracebacks), structlog.processors.JSONRenderer()]
        if as_json
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )

    def say_service(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service  # no contextvar: handlers of gRPC and threads have contexts of their own
        return event

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            say_service,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # What is away and back again is said once, by those who know what it means.
    stamina.instrumentation.set_on_retry_hooks(())
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s %(levelname)s %(message)s")
