"""Print the newest Python from 3.13 on that runs here, on the path or of pyenv; nothing where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

FIRST = (3, 13)
ASK = "import sys; print(*sys.version_info[:2])"


def pythons() -> Iterator[str]:
    """Yield the Pythons that may be here; pyenv's shims on the path run only what its user has chosen."""
    for minor in range(FIRST[1], FIRST[1] + 20):
        if found := shutil.which(f"python3.{minor}"):
            yield found
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    yield from (str(path) for path in versions.glob("3.*/bin/python"))


def version(python: str) -> tuple[int, ...]:
    """Return its major and minor version, () where it does not run."""
    try:
        done = subprocess.run([python, "-c", ASK], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(map(int, done.stdout.split()))


if __name__ == "__main__":
    found = max(((version(python), python) for python in pythons()), default=((), ""))
    print(found[1] if found[0] >= FIRST else "")
