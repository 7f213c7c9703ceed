"""What a `.pt2` file may contain. PyTorch unpickles, evaluates and calls whatever it finds in one.

So only the contents of our own exports are allowed: plain weights, PyTorch's own operators, sizes in sympy's notation.
Anything else is refused before PyTorch sees the file.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engines.errors import UserError

MEMBERS = re.compile(
    r"[^/]+/(data/weights/weight_\d+|data/constants/tensor_\d+|data/(weights|constants)/\w+_config\.json"
    r"|data/sample_inputs/\w+\.pt|models/\w+\.json|extra/\w+|archive_format|archive_version|byteorder"
    r"|\.data/(version|serialization_id))"
)
# What the values of these keys in its JSON files are evaluated or looked up as.
ALLOWED = {
    "target": re.compile(
        r"torch\.ops\.(aten\.\w+\.\w+|engines\.int8\.default)|_operator\.(add|sub|mul|floordiv|mod|neg|eq|ne|lt|le|gt|ge)"
    ),
    "expr_str": re.compile(
        r"(Symbol|Integer|Rational|Add|Mul|Pow|Max|Min|Mod|FloorDiv|CleanDiv|positive|nonnegative|integer|True|False"
        r"|'[a-z]+\d+'|[-\d(),= ])*"
    ),
    "path_name": re.compile(r"(weight|tensor)_\d+"),
    "use_pickle": re.compile("False"),
    "guards_code": re.compile(r"(L\['\w+'\]\.size\(\)\[\d\]|max|min|and|or|not|[-+*/%<>=!\d(), ])*"),
}


def check_archive(path: Path) -> None:
    """Raise UserError where a file is no archive, or contains anything that our exports never do."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            found = [f"the member '{one.filename}'" for one in members if not _is_ours(one)]
            if len({one.filename for one in members}) < len(members):
                found.append("two members of the same name")
            if not found:
                texts = [archive.read(one) for one in members if one.filename.endswith(".json")]
                found = [what for text in texts for what in _strange(json.loads(text))]
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as error:  # RuntimeError: encrypted, nested too deep
        raise UserError(f"{path}: not a .pt2 archive: {error}") from error
    if found:
        raise UserError(
            f"{path}: holds {found[0]}; only plain weights and operators of PyTorch are loaded, no pickled data and no "
            "code: export it with `python -m train export`"
        )


def _is_ours(member: zipfile.ZipInfo) -> bool:
    """Tell whether a member has a known name and its own size; example inputs are pickled, so they must be empty."""
    plain = member.compress_type == zipfile.ZIP_STORED
    empty = "/sample_inputs/" not in member.filename or not member.file_size
    return plain and empty and MEMBERS.fullmatch(member.filename) is not None


def _strange(value: Any, key: str = "") -> Iterator[str]:
    """Yield the parts of a JSON value under a key that our exports never contain."""
    if key in ALLOWED:
        texts = [str(one) for one in (value if isinstance(value, list) else [value])]
        yield from (f"{key} {text[:60]!r}" for text in texts if not ALLOWED[key].fullmatch(text))
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _strange(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _strange(inner)
