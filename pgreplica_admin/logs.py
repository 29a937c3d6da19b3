"""Where log lines go: to stderr. `PGREPLICA_LOG_LEVEL=DEBUG` shows every request too; at INFO only those that were refused or failed."""

from __future__ import annotations

from typing import Any

import structlog


def logging_config(level: str) -> dict[str, Any]:
    """Django's LOGGING. structlog (requests, tasks) writes through the same handler."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.filter_by_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"], drop_missing=True),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(levelname)s %(name)s: %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "paramiko": {"level": "ERROR"},
            "django.request": {"level": "CRITICAL"},  # django_structlog says it already, with the request's number
            "django_structlog": {"level": "WARNING" if level == "INFO" else level},
        },
    }
