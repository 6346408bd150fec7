"""Names of the file kinds of the SDK, for messages about the wrong file."""

from __future__ import annotations

from pathlib import Path

from hmdrn_runtime.images.formats import is_photo

_PREFIX_BYTES = 1 << 16
# In the JSON header of a safetensors file, whose metadata comes first.
_METADATA_KEYS = {
    b'"hmdrn_gallery"': "a gallery",
    b'"hmdrn_operators"': "the operators of a gallery",
    b'"hmdrn-checkpoint-': "a checkpoint",
}


def detect_file_kind(path: Path) -> str | None:
    """Name the kind of a file or folder from its first 64 KiB.

    Returns:
        "a bundle", "a folder", "a gallery", "the operators of a gallery", "a checkpoint" or "a photo"; None
        for anything else. A gallery or checkpoint may still be damaged.
    """
    try:
        if path.is_dir():
            return "a bundle" if (path / "manifest.json").is_file() else "a folder"
        with path.open("rb") as file:
            prefix = file.read(_PREFIX_BYTES)
    except OSError:
        return None
    if prefix[8:9] == b"{":  # safetensors: 8 bytes for the header's length, then the header
        for key, kind in _METADATA_KEYS.items():
            if key in prefix:
                return kind
    return "a photo" if is_photo(path.name) else None
