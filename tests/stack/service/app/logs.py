"""JSON lines, to the console and to LOG_FILE, without phone numbers and numbers of identity cards."""

import json
import logging
import logging.handlers
import re
import sys

from . import settings

SECRETS = [(re.compile(r"(?<!\d)1\d{10}(?!\d)"), "[phone]"), (re.compile(r"(?<!\d)\d{17}[\dXx](?!\d)"), "[id]")]


REQUEST = ("method", "path", "status", "duration_ms")


def masked(text: str) -> str:
    """The text without what nobody may read in a log."""
    for pattern, name in SECRETS:
        text = pattern.sub(name, text)
    return text


class Lines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": masked(record.getMessage()),
        }
        for name in REQUEST:
            if hasattr(record, name):
                value = getattr(record, name)
                line[name] = masked(value) if isinstance(value, str) else value
        if record.exc_info:
            line["exception"] = masked(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def set_up() -> None:
    """The file may be moved away at any time: the next line makes a new one."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if settings.LOG_FILE:
        handlers.append(logging.handlers.WatchedFileHandler(settings.LOG_FILE))
    for handler in handlers:
        handler.setFormatter(Lines())
    logging.basicConfig(level=settings.LOG_LEVEL, handlers=handlers, force=True)
