"""What must be so before a command imports anything of ours: the system, and that the packages beside are ours.

These have plain names: a foreign `engines` or `train` may be found first.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]


def check_packages(*names: str) -> None:
    """End the program with one line and exit code 2 where a package found first is not ours."""
    for name in names:
        if told := foreign(name):
            print(f"streamer: {told}", file=sys.stderr)
            sys.exit(2)


def check_platform() -> None:
    """End the program with one line and exit code 2 on Windows, which lacks what logs and signals rest on."""
    if sys.platform == "win32":
        print("streamer: expected Linux, found Windows: WSL or the container image run there", file=sys.stderr)
        sys.exit(2)


def foreign(name: str) -> str:
    """Say which package is found in place of ours of that name, '' where it is ours."""
    spec = find_spec(name)
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    found = next((Path(place).resolve() for place in places if place), None)
    if found == HOME / name / "__init__.py":
        return ""
    what = f"{found} is found before it: rename that, or start in another folder" if found else "found none"
    return f"expected the package '{name}' in {HOME}: {what}"


def train() -> None:
    """Run the command line of `train`: the console script `streamer-train`."""
    check_platform()
    check_packages("engines", "train")
    import_module("train.__main__").run()
