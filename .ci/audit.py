"""Ask pip-audit for known weaknesses of what is installed beside this Python, and say what the answer is worth.

An index without data on weaknesses, or none in reach, is no reason to fail: pip-audit then finds nothing and says so
in the same words as of a clean installation, or breaks off. Here it is told apart. Exit code 1: weaknesses were found.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def verdict(packages: list[dict[str, Any]]) -> tuple[list[str], int]:
    """Return the lines to print and the exit code for pip-audit's list of packages."""
    known = [package for package in packages if "skip_reason" not in package]
    if not known:
        return [f"audit: NOT DONE: the package index has no data on weaknesses of any of {len(packages)} packages"], 0
    weak = [
        f"{package['name']} {package['version']}: {one['id']}, mended in {', '.join(one['fix_versions']) or 'none yet'}"
        for package in known
        for one in package["vulns"]
    ]
    return [*weak, f"audit: {len(known)} of {len(packages)} packages looked up, {len(weak)} known weaknesses"], bool(
        weak
    )


def main() -> int:
    """Run pip-audit and print what it found; return the exit code."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--local",
        "--skip-editable",
        "--progress-spinner=off",
        "--format=json",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        packages = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        print("audit: NOT DONE: no answer within 5 minutes")
        return 0
    except ValueError:
        print(f"audit: NOT DONE: {(done.stderr.strip() or 'pip-audit says nothing').splitlines()[-1]}")
        return 0
    lines, code = verdict(packages)
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
