"""`streamer replay`: run again what a manifest describes, and compare the records."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from engines.errors import UserError
from streamer.commands.run import run
from streamer.records.journal import JournalSettings, parts
from streamer.records.reading import read_log, trusting
from streamer.records.run_manifest import check_unchanged, manifest_path, read_manifest
from streamer.sinks.outputs import Outputs

CLOCKS = ("wall_time",)  # what differs from run to run


def replay(path: Path, log: Path | None) -> int:
    """Repeat the run of a manifest into `log` (NAME.replay.jsonl) and print whether it gave the same records.

    Returns the exit code: 1 where a record differs, more than 128 for a signal. Raises UserError where the run cannot
    be repeated, and what a run raises.
    """
    manifest = read_manifest(path)
    check_unchanged(manifest, path)
    recorded = path.with_name(manifest.log)
    log = log or recorded.with_name(f"{recorded.stem}.replay.jsonl")
    if log.resolve() == recorded.resolve():
        raise UserError(f"{log}: is the log to compare with, and would be replaced: choose another name")
    settings = manifest.config.model_copy(update={"log": JournalSettings()})
    code = run(settings, [one.source for one in manifest.inputs], Outputs(log=log))
    again = read_manifest(manifest_path(log))
    if [one.sha256 for one in again.inputs] != [one.sha256 for one in manifest.inputs]:
        raise UserError(f"{path}: the input has other files now than when it was recorded")
    if code > 128 or not parts(recorded):
        print(f"{log}: not compared: {'ended by a signal' if code > 128 else f'there is no {recorded}'}")
        return code
    return _compare(recorded, log, manifest.run)  # of a damaged input, too, what could be read of it


def _compare(recorded: Path, log: Path, run: str) -> int:
    before, after = _digests(recorded, run), _digests(log)
    for stream in before | after:
        one, other = before.get(stream, []), after.get(stream, [])
        if one != other:
            same = next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
            where = f"frame record {same} differs" if same is not None else f"{len(one)} frames became {len(other)}"
            print(f"{log}: not the same as {recorded}: stream '{stream}': {where}")
            return 1
    print(f"{log}: the same {sum(map(len, before.values()))} frames as {recorded}")
    return 0


def _digests(log: Path, run: str | None = None) -> dict[str, list[bytes]]:
    """Return a digest of each frame record without its clocks, by stream in order; run: of this one of several."""
    found: dict[str, list[bytes]] = {}
    current = run
    with trusting(log):
        for record in read_log(log):
            if record["type"] == "run":
                current = record["run"]
            if record["type"] == "frame" and (run is None or current == run):
                kept = {name: value for name, value in record.items() if name not in CLOCKS}
                digest = hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=16).digest()
                found.setdefault(record["stream"], []).append(digest)
    return found
