"""Time one network in every engine: ours in f32, bf16 and int8, ONNX Runtime in f32 and int8, torch eager.

Usage: python benchmarks/runtimes.py [MODEL.onnx] [--rounds 60]

Each round runs every engine at every batch size twice, in turns, on one thread. The first run finds the caches full of
other engines' weights ('cold'), the second is the rule. CPU time is taken: it equals wall time on an idle core, and
other processes change it little.
Torch runs the architecture that the model's spec names, with fresh weights: they do not change the time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import report
import torch

from engines import ZOO, EngineSpec, load_engine
from engines.precision import int8_name
from train.expression.served import Served
from train.models import build

BATCHES = (1, 3, 8, 32)
CACHES = ("cold", "warm")  # of the first and the second of two runs
WARM_UP = 12  # rounds; a batch size that is seen often gets a graph of its own


def onnx_runtime(path: Path) -> Callable[[Any], Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {"images": batch})


def torch_eager(spec: EngineSpec) -> Callable[[Any], Any]:
    config = spec.training["config"]
    model = config["model"]
    served = Served(
        [build(model["name"], len(spec.labels), spec.channels, model["args"])], flip=config["serve"]["flip"]
    )
    served.to(memory_format=torch.channels_last)

    def run(batch: Any) -> Any:
        with torch.inference_mode():
            return served(torch.from_numpy(batch))

    return run


def runners(path: Path) -> dict[str, Callable[[Any], Any]]:
    ours = {one: load_engine(path, "expression", precision=one) for one in ("f32", "bf16", "int8")}
    found: dict[str, Callable[[Any], Any]] = {f"ours (OpenVINO) {name}": engine.infer for name, engine in ours.items()}
    found["ONNX Runtime f32"] = onnx_runtime(path)
    found["ONNX Runtime int8, same file"] = onnx_runtime(int8_name(path))
    found["torch eager f32, channels last"] = torch_eager(ours["f32"].spec)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, nargs="?", default=ZOO / "face.onnx")
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = runners(options.model)
    spec = load_engine(options.model, "expression", precision="f32").spec
    shape = (spec.height, spec.width, spec.channels)
    batches = {n: np.random.default_rng(n).integers(0, 256, (n, *shape), np.uint8) for n in BATCHES}
    times: dict[tuple[str, int, str], list[float]] = {
        (name, n, caches): [] for name in found for n in BATCHES for caches in CACHES
    }
    for turn in range(options.rounds + WARM_UP):
        for (name, n, _), taken in times.items():
            started = time.process_time()
            found[name](batches[n])
            if turn >= WARM_UP:
                taken.append(1000 * (time.process_time() - started) / n)
    medians = {key: statistics.median(taken) for key, taken in times.items()}
    base = medians["ONNX Runtime f32", 8, "warm"]
    rows = []
    for name in found:
        row = {"engine": name, "CPU ms a face, batch 1, cold": f"{medians[name, 1, 'cold']:.2f}"}
        row |= {f"CPU ms a face, batch {n}": f"{medians[name, n, 'warm']:.2f}" for n in BATCHES}
        rows.append(row | {"times as fast as ONNX Runtime f32, batch 8": f"{base / medians[name, 8, 'warm']:.2f}"})
    versions = f"OpenVINO {version('openvino')}, ONNX Runtime {onnxruntime.__version__}, torch {torch.__version__}"
    notes = f"{options.model.name}, one thread, CPU time, medians of {options.rounds} rounds. {versions}."
    report.write("runtimes", "One network in every engine", rows, notes, ("engine", "CPU ms a face, batch 8"))


if __name__ == "__main__":
    main()
