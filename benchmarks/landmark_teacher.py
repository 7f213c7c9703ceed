"""How the points of MediaPipe's landmarker and the published ones of YouTube-Faces differ, on people trained on.

Usage: python benchmarks/landmark_teacher.py --teacher face_landmarker.task --data data/landmarks [--write FILE.csv]

What is constant of the difference is written to FILE.csv, for `bias` of a source of `configs/train/landmarks.yaml`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import report

from train.landmarks.agreement import bias_of, differences, summary
from train.landmarks.batches.bias import save_bias
from train.landmarks.batches.read import read
from train.landmarks.config import Source
from train.landmarks.teacher import MeshTeacher


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--faces", type=int, default=400)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    [faces] = read(Source(set="ytf", path=options.data, share=1), "train")
    rows = np.linspace(0, len(faces) - 1, min(options.faces, len(faces))).astype(int).tolist()
    ways = differences(faces, rows, MeshTeacher(options.teacher))
    if options.write:
        save_bias(options.write, bias_of(ways))
    notes = f"{len(ways)} of {len(rows)} frames that both see; in percent of the distance of the outer eye corners."
    report.write("landmark_teacher", "The teacher of landmarks and the published points", summary(ways), notes)


if __name__ == "__main__":
    main()
