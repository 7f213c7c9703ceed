"""SIGHUP: read the configuration again and take over what can be changed while running."""

from __future__ import annotations

import logging
from collections.abc import Callable

from engines.errors import UserError
from streamer.build import TUNABLE, Stages
from streamer.config import Config

log = logging.getLogger(__name__)


def reload(stages: Stages, now: Config, read: Callable[[], Config]) -> Config:
    """Return the configuration that holds from here on; what is wrong with the new one is logged, and nothing changes.

    read: gives the new configuration, or raises UserError or OSError.
    """
    try:
        wanted = read()
        changed = [name for name in Config.model_fields if getattr(wanted, name) != getattr(now, name)]
        taken = {name: getattr(wanted, name) for name in changed if name in TUNABLE}
        stages.retune(after := now.model_copy(update=taken))
    except (UserError, OSError) as error:
        log.warning("configuration not reloaded: %s", error)
        return now
    if taken:
        log.warning("configuration reloaded: %s changed", ", ".join(taken))
    if waiting := [name for name in changed if name not in TUNABLE]:
        log.warning("configuration reloaded, but %s can only be changed by a restart", ", ".join(waiting))
    if not changed:
        log.warning("configuration reloaded: nothing changed")
    return after
