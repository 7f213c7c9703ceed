"""Ask pip-audit for known weaknesses of what is installed here and of what the container will hold (requirements.lock).

It says what the answer is worth: an index without data on weaknesses, or none in reach, is no reason to fail, but
pip-audit then finds nothing and says so in the same words as of clean packages, or breaks off. Here it is told apart.
Exit code 1: weaknesses were found.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[1] / "requirements.lock"
AUDITED = {
    "installed": ["--local", "--skip-editable"],
    "locked": ["--requirement", str(LOCK), "--require-hashes", "--disable-pip"],
}


def verdict(what: str, packages: list[dict[str, Any]]) -> tuple[list[str], int]:
    """Return the lines to print and the exit code for pip-audit's list of packages, which are installed or locked."""
    known = [package for package in packages if "skip_reason" not in package]
    if not known:
        found = f"the package index has no data on weaknesses of any of {len(packages)} {what} packages"
        return [f"audit: NOT DONE: {found}"], 0
    weak = [
        f"{package['name']} {package['version']}: {one['id']}, mended in {', '.join(one['fix_versions']) or 'none yet'}"
        for package in known
        for one in package["vulns"]
    ]
    counted = f"audit: {len(known)} of {len(packages)} {what} packages looked up, {len(weak)} known weaknesses"
    return [*weak, counted], bool(weak)


def audit(what: str, options: list[str]) -> int:
    """Run pip-audit and print what it found; return the exit code."""
    command = [sys.executable, "-m", "pip_audit", "--progress-spinner=off", "--format=json", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        packages = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        print(f"audit: NOT DONE: no answer on {what} packages within 5 minutes")
        return 0
    except ValueError:
        print(f"audit: NOT DONE: {(done.stderr.strip() or 'pip-audit says nothing').splitlines()[-1]}")
        return 0
    lines, code = verdict(what, packages)
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(max([audit(what, options) for what, options in AUDITED.items()]))
