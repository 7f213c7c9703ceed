"""Hand-made features and a support vector machine: the baselines of Sun et al. (2018), Table 5.

A fitted machine is never written to disk: scikit-learn could only pickle it, and no pickle is ever loaded. It is fitted
anew where it is evaluated, which takes seconds to minutes, and its seed makes it the same; what stays is the report.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from train.data import FaceSet

Picture = NDArray[np.uint8]
Feature = Callable[[Picture], NDArray[np.float32]]


def lbp(picture: Picture) -> NDArray[np.float32]:
    """Return the histograms of uniform local binary patterns (59 a cell) of 6 x 7 cells (Shan et al. 2009)."""
    from skimage import feature

    pattern: Any = feature.local_binary_pattern
    return _cell_histograms(pattern(picture, P=8, R=1, method="nri_uniform").astype(np.int64), bins=59)


def lpq(picture: Picture, window: int = 7, correlation: float = 0.9) -> NDArray[np.float32]:
    """Return the histograms of local phase quantisation (256 a cell) of 6 x 7 cells (Ojansivu & Heikkilä 2008).

    The signs of real and imaginary part of four low frequencies, made independent of each other under the assumption
    that neighbouring pixels have this correlation, are the bits of a code.
    """
    reach = window // 2
    x = np.arange(-reach, reach + 1)
    ones, wave = np.ones(window), np.exp(-2j * np.pi * x / window)
    # The frequencies (a, 0), (0, a), (a, a), (a, -a) as separable filters: (rows, columns).
    pairs = ((ones, wave), (wave, ones), (wave, wave), (wave.conj(), wave))
    filters = np.stack([part for rows, columns in pairs for part in _parts(np.outer(rows, columns))])
    grey = picture.astype(np.float32)
    responses = np.stack([cv2.filter2D(grey, cv2.CV_32F, kernel[::-1, ::-1]) for kernel in filters])
    independent = np.einsum("ij,jhw->ihw", _decorrelation(filters, x, correlation), responses)
    codes = (np.where(independent > 0, 1, 0) * (1 << np.arange(8))[:, None, None]).sum(axis=0)
    return _cell_histograms(codes, bins=256)


def gabor(picture: Picture, side: int = 96, grid: int = 8) -> NDArray[np.float32]:
    """Return the magnitudes of 40 Gabor wavelets (5 scales, 8 directions), averaged to a grid (Liu & Wechsler 2001)."""
    grey = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    spectrum = np.fft.fft2(grey - grey.mean())
    parts = []
    for transfer in _gabor_bank(side):
        magnitude = np.abs(np.fft.ifft2(spectrum * transfer)).astype(np.float32)
        small = cv2.resize(magnitude, (grid, grid), interpolation=cv2.INTER_AREA)
        parts.append((small - small.mean()) / (small.std() + 1e-6))
    return np.concatenate([part.ravel() for part in parts])


def downsampled(picture: Picture) -> NDArray[np.float32]:
    """Return the grey values at 10 wide x 12 high, with zero mean and unit length (Wright et al. 2009)."""
    small = cv2.resize(picture, (10, 12), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    centred = small - small.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-6), np.float32)


FEATURES: dict[str, Feature] = {"lbp_svm": lbp, "gabor_svm": gabor, "lpq_svm": lpq, "downsampled_svm": downsampled}


class FeatureSvm:
    """Classify pictures by one feature and a linear or RBF machine, one class against the rest.

    feature: a name of `FEATURES`. cost: the penalty C. Raises UserError for an unknown feature.
    """

    def __init__(
        self, feature: str, kernel: Literal["linear", "rbf"] = "linear", cost: float = 1.0, seed: int = 1
    ) -> None:
        if feature not in FEATURES:
            raise UserError(f"unknown feature '{feature}': expected one of {', '.join(FEATURES)}")
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC, LinearSVC

        self.feature = FEATURES[feature]
        linear = kernel == "linear"
        machine = LinearSVC(C=cost, dual="auto", random_state=seed) if linear else SVC(C=cost, random_state=seed)
        self._machine: Any = make_pipeline(StandardScaler(), machine)
        self._classes = 0

    def fit(self, rows: FaceSet) -> Self:
        """Fit to the labelled rows. Raises UserError where fewer than two classes have any."""
        known = rows[rows.labels >= 0]
        if len(set(known.labels.tolist())) < 2:
            raise UserError("a support vector machine needs rows of two classes at least")
        self._classes = len(rows.classes)
        self._machine.fit(self.describe(known.images), known.labels)
        return self

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (N, classes) probabilities of (N, H, W, C) pictures: the softmax of the distances to the planes.

        They are not calibrated; a class that was never seen gets 0. Raises RuntimeError before `fit`.
        """
        if not self._classes:
            raise RuntimeError("the machine was not fitted yet: call `fit` first")
        seen = self._machine.classes_
        margins = np.asarray(self._machine.decision_function(self.describe(images)), np.float64)
        if margins.ndim == 1:
            margins = np.stack([-margins, margins], axis=1)
        powers = np.exp(margins - margins.max(axis=1, keepdims=True))
        probabilities = np.zeros((len(images), self._classes), np.float32)
        probabilities[:, seen] = powers / powers.sum(axis=1, keepdims=True)
        return probabilities

    def predict(self, rows: FaceSet) -> NDArray[np.int64]:
        """Return the (N,) labels."""
        return np.asarray(self(rows.images).argmax(axis=1), np.int64)

    def describe(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (N, D) features of (N, H, W, C) pictures, BGR turned grey."""
        return np.stack([self.feature(_grey(image)) for image in images])


def build_classic(name: str, args: dict[str, Any], seed: int) -> FeatureSvm:
    """Build a baseline by name. Raises UserError for an unknown name or argument."""
    try:
        return FeatureSvm(name, seed=seed, **args)
    except TypeError as error:
        raise UserError(f"model '{name}': {error}") from error


def _grey(image: Picture) -> Picture:
    return np.asarray(image[..., 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def _cell_histograms(codes: NDArray[np.int64], bins: int, rows: int = 7, columns: int = 6) -> NDArray[np.float32]:
    """Count codes in each cell of a grid: (rows * columns * bins,) shares."""
    height, width = codes.shape
    down, across = np.arange(height) * rows // height, np.arange(width) * columns // width
    cells = down[:, None] * columns + across
    counts = np.bincount((cells * bins + codes).ravel(), minlength=rows * columns * bins).reshape(rows * columns, bins)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return np.asarray(shares, np.float32).ravel()


def _parts(kernel: NDArray[np.complex128]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return kernel.real, kernel.imag


def _decorrelation(filters: NDArray[np.float64], x: NDArray[np.int64], correlation: float) -> NDArray[np.float64]:
    """Return the (8, 8) whitening V' of the responses of pixels whose correlation falls with their distance."""
    places = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 2)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    flat = filters.reshape(len(filters), -1)
    # A slight weight keeps the order of the bits when two variances are equal, as the paper does.
    weights = np.diag([1.000007, 1.000006, 1.000005, 1.000004, 1.000003, 1.000002, 1.000001, 1.0])
    covariance = weights @ (flat @ correlation**distances @ flat.T) @ weights
    turn: NDArray[np.float64] = np.linalg.svd(covariance)[2]
    return turn


@cache
def _gabor_bank(side: int, scales: int = 5, directions: int = 8) -> list[NDArray[np.float64]]:
    """Return the transfer functions of Gabor wavelets whose wavelength grows by sqrt 2 from 4 pixels (sigma = 2 pi)."""
    v, u = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    bank = []
    for scale in range(scales):
        k = 0.25 / np.sqrt(2) ** scale  # cycles a pixel
        for direction in range(directions):
            angle = np.pi * direction / directions
            du, dv = u - k * np.cos(angle), v - k * np.sin(angle)
            bank.append(np.exp(-((2 * np.pi) ** 2) * (du**2 + dv**2) / (2 * k**2)))
    return bank
