"""What the program says of itself on stderr: lines for people, or one JSON object a line for collectors."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

FIELDS = {"level": "levelname", "logger": "name"}
KNOWN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class JsonFormatter(logging.Formatter):
    """Write a record as one JSON object: time, level, logger, message, and what was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": moment, **{key: getattr(record, name) for key, name in FIELDS.items()}}
        line["message"] = record.getMessage()
        line |= {name: value for name, value in vars(record).items() if name not in KNOWN and name[0] != "_"}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up(verbose: int, *, as_json: bool) -> None:
    """Log warnings (verbose 0), information (1) or everything (2) to stderr; JSON includes information always."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    if not as_json:
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
        return
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=min(level, logging.INFO), handlers=[handler], force=True)


def structured() -> bool:
    """Tell whether lines are JSON, so that nothing else may be printed to stderr."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers)
