"""A toy data set in the layout of FER+: stripes and a bar tell the class, easy to learn."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

CLASSES = 8
# fer2013 numbers of neutral, happiness, surprise, sadness, anger, disgust, fear; contempt has none and takes 'neutral'.
FER2013 = (6, 3, 5, 4, 0, 1, 2, 6)

CONFIG: dict[str, Any] = {
    "name": "toy",
    "loss": "hard",
    "input": {"size": 24},
    "model": {"name": "residual", "args": {"widths": [8, 16], "blocks": [1, 1], "dropout": 0.1}},
    "augment": {"degrees": 3, "scale": 0.02, "shift": 0.02, "flip": True, "erase": 0.1},
    "optimizer": {"rate": 0.05, "batch": 16, "average": 0.9},
    "phases": [{"epochs": 3, "size": 24}],
}


@pytest.fixture(autouse=True)
def _no_progress_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.export makes (hidden) tqdm bars, and the first one leaves a thread behind."""
    with suppress(ImportError):
        import tqdm

        monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 0)


def toy_picture(label: int, random: np.random.Generator) -> NDArray[np.uint8]:
    picture = random.normal(90, 12, (48, 48))
    picture += 40 * np.sign(np.sin(2 * np.pi * np.arange(48) / (4 + 3 * label)))  # stripes, for networks that pool
    picture[6 * label : 6 * label + 6, 4:44] += 110
    return np.clip(picture, 0, 255).astype(np.uint8)


def write_toy_set(folder: Path, rows: dict[str, int], seed: int = 0, **columns: list[Any]) -> Path:
    """Write `rows` pictures of each class for each split; `columns` replaces whole columns."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    random = np.random.default_rng(seed)
    table: dict[str, list[Any]] = {name: [] for name in ("name", "split", "png", "votes", "ferplus_seed")}
    for split, count in rows.items():
        for i in range(count * CLASSES):
            label = i % CLASSES
            votes = np.zeros(10, int)
            votes[label], votes[(label + 1) % CLASSES] = 8, 2
            table["name"].append(f"{split}-{i}")
            table["split"].append(split)
            table["png"].append(cv2.imencode(".png", toy_picture(label, random))[1].tobytes())
            table["votes"].append(votes.tolist())
            table["ferplus_seed"].append(label)
    n = len(table["name"])
    table["ferplus_majority"] = list(table["ferplus_seed"])
    table["fer2013"] = [FER2013[label] for label in table["ferplus_seed"]]
    table |= {"dup_in_training": [False] * n, "private_dup_elsewhere": [False] * n} | columns
    folder.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(table), folder / "fer-0.parquet")
    return folder


@pytest.fixture(scope="session")
def toy_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_set(tmp_path_factory.mktemp("toy"), {"train": 24, "public": 6, "private": 6})


def write_toy_config(folder: Path, toy_set: Path, **changes: Any) -> Path:
    """Write the toy configuration with changed keys as YAML; return its path."""
    values = {**CONFIG, "data": {"set": "fer", "path": str(toy_set)}, "runs": str(folder / "runs"), **changes}
    path = folder / f"{values['name']}.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.fixture
def write_config(tmp_path: Path, toy_set: Path) -> Callable[..., Path]:
    return partial(write_toy_config, tmp_path, toy_set)
