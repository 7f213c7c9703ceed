"""One set of models for many pictures and streams."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, overload
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from engines import Engine
from engines.errors import UserError
from streamer.api.faces import Faces
from streamer.api.loops import FPS, Name, loop_over
from streamer.api.pictures import EXPECTED, Picture, is_picture, open_picture
from streamer.api.results import Results
from streamer.build import Parts, Stages, load_parts
from streamer.closing import Closing
from streamer.config import ClassifierConfig, Config, check_config, load_config, with_cache
from streamer.faces.detect import Detector
from streamer.faces.landmarks import Landmarker
from streamer.photo.analyst import Analyst
from streamer.photo.render import record
from streamer.sources import prepare_opencv, unique_names
from streamer.types import Result

PICTURES, STREAMS = "photos", "default"  # presets that serve where none is named


class Analyzer(Closing):
    """Analyse pictures and watch streams with one set of models, opened by the first use and kept until `close`.

    config: a preset's name, a YAML file or a `Config`; without it, pictures are analysed as `streamer photo` does, and
    streams as `streamer run`. overrides: single changes, as `--set` takes them: 'detector.min_face=60'. detector,
    landmarker: own ones, see the protocols `Detector` and `Landmarker`. classifier: an own expression network, a model
    file or an engine, which then judges partly hidden faces too. Own objects stay the caller's to close; all else,
    privacy and shedding too, is as configured.

    Any thread may call; calls of `analyze` take turns. While a loop over `watch` lasts the models are taken: another
    call raises UserError. Raises UserError with one line for what is wrong with the configuration, and at the first use
    with a model.
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | Config | None = None,
        *,
        overrides: Sequence[str] = (),
        detector: Detector | None = None,
        landmarker: Landmarker | None = None,
        classifier: str | os.PathLike[str] | Engine | None = None,
    ) -> None:
        prepare_opencv()
        engine = None if isinstance(classifier, str | os.PathLike) else classifier
        self._given: dict[str, Any] = {"detector": detector, "landmarker": landmarker, "classifier": engine}
        for name, method in (("detector", "detect"), ("landmarker", "look"), ("classifier", "infer")):
            if (own := self._given[name]) is not None and not callable(getattr(own, method, None)):
                raise UserError(f"{name}: expected an object with the method '{method}', found {type(own).__name__}")
        self._configs = {
            use: _with_classifier(read_settings(use if config is None else config, overrides), classifier)
            for use in (PICTURES, STREAMS)
        }
        self._shared = config is not None  # by both uses
        self._parts: dict[str, Parts] = {}
        # Re-entrant: a loop that is garbage may be collected, and so ended, by whatever runs while it is held.
        self._lock = threading.RLock()
        self._watching: Callable[[], Results | None] | None = None
        self._closed = False

    @overload
    def analyze(self, picture: Picture, *, rgb: bool = False) -> Faces: ...  # type: ignore[overload-overlap]

    @overload
    def analyze(self, picture: Iterable[Picture], *, rgb: bool = False) -> list[Faces]: ...

    def analyze(self, picture: Picture | Iterable[Picture], *, rgb: bool = False) -> Faces | list[Faces]:
        """Find and classify the faces of a picture: a path, an http address, the bytes of a file or an array.

        Several, in any iterable, give a list. Arrays are (H, W, 3) uint8 of blue, green and red, as OpenCV reads them,
        or with `rgb` of red, green and blue; they are neither changed nor frozen. Photos that lie on their side are
        turned upright, and say so in `Faces.notes`; arrays are taken as they are. Raises UserError with one line.
        """
        return one_or_several(picture, lambda one, keep: self._analyze(one, rgb, keep=keep))

    def watch(
        self, source: Name | Sequence[Name] | Iterable[NDArray[np.uint8]], *, fps: float | None = FPS, rgb: bool = False
    ) -> Results:
        """Follow the faces of a source, or of several in a list: `for result in analyzer.watch("clip.mp4"): ...`.

        A source is what `streamer run` takes: a file, a folder or pattern of pictures, a URL, 0 for a webcam. Or it is
        an iterable of own arrays, as `analyze` takes them, all of which are analysed, one when the next result is asked
        for; fps: how many of them make a second, None where each belongs to the moment at which it is taken.

        The loop ends with a SourceError where a source failed or is damaged, after all that could be read. Raises
        UserError with one line for what is no source.
        """
        return self._watch(source, fps, rgb)

    def close(self) -> None:
        """Free the models, and end a loop that still watches; later calls do nothing."""
        with self._lock:
            self._closed = True
            if self._watching is None:
                self._free()
            elif results := self._watching():
                results.close()  # which frees the models, now or when the thread that waits for a result has it

    def _analyze(self, given: Any, rgb: bool, *, keep: bool) -> Faces:
        """Analyze one picture; keep: hold the picture too in what is returned."""
        name, photo, turn = open_picture(given, rgb=rgb)
        with self._lock:
            analyst = Analyst(self._configs[PICTURES], stages=self._stages(PICTURES))
            if turn:
                photo, result = analyst.look_upright(photo, name)
            else:
                result = analyst.look(photo.image, name)
        return Faces(result.faces, record(name, photo, result), result.frame.image if keep else None)

    def _watch(self, source: Any, fps: float | None, rgb: bool, *, alone: bool = False) -> Results:
        """Begin a loop; alone: this is closed with it."""
        ending = threading.Event()
        begin = loop_over(source, self._configs[STREAMS].source, ending, fps=fps, rgb=rgb)

        def loop() -> Generator[Result, None, None]:
            with self._lock:
                stages, self._watching = self._stages(STREAMS), weakly
            try:
                yield from begin(stages)
            finally:
                with self._lock:
                    self._watching = None
                    if self._closed or alone:
                        self.close()

        results = Results(loop(), ending.set)
        weakly = ref(results)
        return results

    def _stages(self, use: str) -> Stages:
        """Return stages that know nothing yet, around the models, which are opened by the first use."""
        if self._closed:
            raise UserError("this analyzer is closed: expected it to be used before, within its `with`")
        if self._watching is not None:
            raise UserError(
                "this analyzer is taken by a loop over watch: expected that to end first, as by results.close(); or "
                "use another Analyzer"
            )
        config, key = self._configs[use], "" if self._shared else use
        if key not in self._parts:
            with one_kind_of_error():
                self._parts[key] = load_parts(config, **self._given)
        return replace(self._parts[key].stages(config), owned=())  # they stay open for the next use

    def _free(self) -> None:
        while self._parts:
            self._parts.popitem()[1].close()


def one_or_several(given: Picture | Iterable[Picture], analyze: Callable[[Any, bool], Faces]) -> Faces | list[Faces]:
    """Call for one picture, or for several one after another; analyze: also told whether to keep the picture.

    Several have names of their own. Raises UserError for what is neither.
    """
    if is_picture(given):
        return analyze(given, True)
    if not isinstance(given, Iterable) or isinstance(given, Mapping):
        raise UserError(f"expected {EXPECTED}, or several of them, found {type(given).__name__}")
    found = [analyze(one, False) for one in given]
    names = unique_names(faces.name for faces in found)
    return [Faces(faces, faces.to_dict() | {"name": name}) for faces, name in zip(found, names, strict=True)]


def _with_classifier(config: Config, classifier: str | os.PathLike[str] | Engine | None) -> Config:
    """Have an own classifier judge all faces, where nothing else is said of partly hidden ones."""
    changes: dict[str, Any] = {}
    if classifier is not None and "regions" not in config.model_fields_set:
        changes["regions"] = None
    if isinstance(classifier, str | os.PathLike):
        changes["classifier"] = ClassifierConfig(model=Path(classifier))
    return config.model_copy(update=changes)


def read_settings(config: str | os.PathLike[str] | Config, overrides: Sequence[str] = ()) -> Config:
    """Return a configuration by a preset's name, a file or as it is, with changes, and with the user's cache folder.

    Raises UserError with one line.
    """
    changes = [overrides] if isinstance(overrides, str) else list(overrides)
    with one_kind_of_error():
        if isinstance(config, Config):
            return with_cache(check_config(Config, config.model_dump(exclude_unset=True), changes, "configuration"))
        if not isinstance(config, str | os.PathLike):
            expected = "a preset's name, the path of a YAML file or a Config"
            raise UserError(f"configuration: expected {expected}, found {type(config).__name__}")
        return with_cache(load_config(Config, os.fspath(config), changes))


@contextmanager
def one_kind_of_error() -> Iterator[None]:
    """Raise UserError for a file that is missing or cannot be read, too."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(" ".join(str(error).split())) from error
