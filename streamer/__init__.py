"""Real-time facial expression analysis of cameras, streams, files and photos.

    import streamer

    streamer.analyze("photo.jpg")                       # the faces of a picture
    for result in streamer.watch("clip.mp4"): ...       # those of a file, a camera, a stream, frame by frame
    with streamer.Analyzer("photos") as analyzer: ...   # both, with models that stay open, or own ones
    streamer.frame_table(results)                       # as a pandas DataFrame

docs/python.md says more. What is named here is imported when it is first used: `import streamer` loads no runtime.
"""

from importlib import import_module

TYPE_CHECKING = False  # as `typing` has it, whose own import takes longer than all of this

if TYPE_CHECKING:
    from engines.errors import MissingPackage, UserError
    from streamer.api.analyzer import Analyzer
    from streamer.api.convert import convert_classifier
    from streamer.api.faces import Faces
    from streamer.api.results import Results
    from streamer.api.tables import frame_table
    from streamer.api.warm import analyze, close, watch
    from streamer.config import Config
    from streamer.sources import SourceError
    from streamer.types import Detections, Expression, Face, Frame, Result

__version__ = "0.1.0"

__all__ = [
    "Analyzer",
    "Config",
    "Detections",
    "Expression",
    "Face",
    "Faces",
    "Frame",
    "MissingPackage",
    "Result",
    "Results",
    "SourceError",
    "UserError",
    "analyze",
    "close",
    "convert_classifier",
    "frame_table",
    "watch",
]

PLACES = {
    "engines.errors": ("MissingPackage", "UserError"),
    "streamer.api.analyzer": ("Analyzer",),
    "streamer.api.convert": ("convert_classifier",),
    "streamer.api.faces": ("Faces",),
    "streamer.api.results": ("Results",),
    "streamer.api.tables": ("frame_table",),
    "streamer.api.warm": ("analyze", "close", "watch"),
    "streamer.config": ("Config",),
    "streamer.sources": ("SourceError",),
    "streamer.types": ("Detections", "Expression", "Face", "Frame", "Result"),
}


if not TYPE_CHECKING:  # or a checker would take any name for one of these

    def __getattr__(name: str) -> object:
        """Import what is asked for (PEP 562). Raises ImportError where another `engines` is found before ours."""
        place = next((place for place, names in PLACES.items() if name in names), None)
        if place is None:
            raise AttributeError(f"module 'streamer' has no attribute '{name}'")
        if told := import_module("streamer.commands.packages").foreign("engines"):
            raise ImportError(told)
        value = globals()[name] = getattr(import_module(place), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
