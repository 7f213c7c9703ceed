"""Measure `streamer batch` over Ray with one worker and with two, start included; the order alternates.

Usage: python -m benchmarks.batch [--inputs 12] [--repeats 2]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import report

SAMPLE = Path(__file__).parents[1] / "docs" / "sample" / "sample.mp4"
CLUSTER = """
import sys
from pathlib import Path
from ray.cluster_utils import Cluster
from streamer.commands.batch import batch
from streamer.config import Config
workers, out, *inputs = sys.argv[1:]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": int(workers), "include_dashboard": False})
print("up", flush=True)
sys.stdin.readline()
code = batch(Config(), inputs, Path(out), cluster.address)
print("done", flush=True)
cluster.shutdown()
sys.exit(code)
"""


def seconds(workers: int, inputs: list[str], out: Path) -> float:
    """Analyse the inputs on a new cluster of so many workers; return how long it took from a running cluster on."""
    command = [sys.executable, "-W", "ignore", "-c", CLUSTER, str(workers), str(out), *inputs]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin
        assert program.stdout
        if program.stdout.readline() != "up\n":
            raise OSError("the Ray cluster did not start: see above")
        started = time.monotonic()
        program.stdin.write("\n")
        program.stdin.flush()
        program.stdout.readline()
        took = time.monotonic() - started
    if program.returncode:
        raise OSError(f"streamer batch ended with exit code {program.returncode}: see above")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=12, help="copies of the sample clip, 7 s each")
    parser.add_argument("--repeats", type=int, default=2)
    given = parser.parse_args()
    taken: dict[int, list[float]] = {1: [], 2: []}
    with TemporaryDirectory() as folder:
        inputs = [shutil.copy(SAMPLE, Path(folder) / f"clip-{number}.mp4") for number in range(given.inputs)]
        for repeat in range(given.repeats):
            for workers in (1, 2) if repeat % 2 == 0 else (2, 1):
                out = Path(folder) / f"out-{repeat}-{workers}"
                taken[workers].append(seconds(workers, [str(path) for path in inputs], out))
    alone = statistics.median(taken[1])
    rows = [
        {
            "workers": workers,
            "inputs": given.inputs,
            "median s": round(statistics.median(times), 2),
            "all s": " ".join(f"{one:.2f}" for one in times),
            "times one worker": round(alone / statistics.median(times), 2),
        }
        for workers, times in taken.items()
    ]
    report.write(
        "batch",
        "Many files over Ray: two workers against one",
        rows,
        "From a running cluster to the last record; includes the start of Ray's workers and the loading of models.",
    )


if __name__ == "__main__":
    main()
