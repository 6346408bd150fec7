"""What a path holds that something else was expected at, for messages."""

from __future__ import annotations

from pathlib import Path

from hmdrn_runtime.images.formats import is_photo

_LOOK = 1 << 16


def detect_file_kind(path: Path) -> str | None:
    """Name what a path holds by a look at its beginning.

    Returns:
        "a bundle", "a folder", "a gallery", "the operators of a gallery", "a checkpoint" or "a photo"; None
        for anything else. A gallery or checkpoint may still be damaged.
    """
    try:
        if path.is_dir():
            return "a bundle" if (path / "manifest.json").is_file() else "a folder"
        with path.open("rb") as file:
            beginning = file.read(_LOOK)
    except OSError:
        return None
    # A safetensors file: the length of a JSON header in 8 bytes, then the header, its metadata first.
    if beginning[8:9] == b"{":
        if b'"hmdrn_gallery"' in beginning:
            return "a gallery"
        if b'"hmdrn_operators"' in beginning:
            return "the operators of a gallery"
        if b'"hmdrn-checkpoint-' in beginning:
            return "a checkpoint"
    return "a photo" if is_photo(path.name) else None
