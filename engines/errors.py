"""What can go wrong, by who can do something about it.

    ValueError    <- UserError         what a user can mend: told in one line, without a traceback
    UserError     <- SourceError       a camera, file or stream that gives no (more) frames; also an OSError
    UserError     <- MissingPackage    an extra that is not installed; also an ImportError
    MemoryError   <- OutOfMemory       a device has no memory left; another backend may have
    RuntimeError  <- Unbuildable       a backend cannot serve a model here; another backend or precision may

Devices and files fail with OSError. Any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import reprlib
from typing import Any

from pydantic import ValidationError

SHORT = reprlib.Repr()
SHORT.maxlevel = 2  # a few lines of YAML can stand for billions of values


class UserError(ValueError):
    """Tell in one line what a user can mend: what was expected, what was found, what to do."""


class MissingPackage(UserError, ModuleNotFoundError):
    """Tell that something needs a package that is not installed, and how to install it."""


class OutOfMemory(MemoryError):
    """Tell that a device has no memory left for even one picture; another backend may have."""


class Unbuildable(RuntimeError):
    """Tell that a backend cannot serve a model here; another backend or precision may."""


def invalid(source: str, error: ValidationError) -> UserError:
    """Say in one line which values of a source are wrong, and what was expected of each."""
    return UserError(f"{source}: {'; '.join(described(problem) for problem in error.errors())}")


def described(problem: Any, skip: int = 0) -> str:
    """Say what is wrong with one value of a pydantic model; skip: parts of its place that are not to be named."""
    key = ".".join(str(part) for part in problem["loc"][skip:])
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown key '{key}'"
    if problem["type"] == "value_error":  # of several keys, which it names
        return f"'{key}': {problem['ctx']['error']}" if key else str(problem["ctx"]["error"])
    said = f"{problem['msg'][0].lower()}{problem['msg'][1:]}, found {SHORT.repr(problem['input'])}"
    return f"'{key}': {said}" if key else said
