"""Output on streams that cannot show every character: consoles of other encodings, names not in UTF-8."""

from __future__ import annotations

import codecs
import io
import sys
from typing import TextIO

ESCAPE = "hmdrn-escape"
"""Error handler that writes \\uXXXX, as in JSON, for what a stream cannot encode."""
_ASCII = "hmdrn_ascii"


def escape_output() -> None:
    """Let standard output and error escape what they cannot encode, where Python would raise an exception."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # click.echo would write UTF-8 to a stream whose encoding is called ASCII.
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=_ASCII if is_ascii else stream.encoding, errors=ESCAPE)


def is_utf8(stream: TextIO | None) -> bool:
    """Return whether a stream takes UTF-8; True for one without an encoding, such as a `StringIO`."""
    return codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name == "utf-8"


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)), error.end


def _find_codec(name: str) -> codecs.CodecInfo | None:
    if name != _ASCII:
        return None
    ascii = codecs.lookup("ascii")
    return codecs.CodecInfo(
        ascii.encode,
        ascii.decode,
        ascii.streamreader,
        ascii.streamwriter,
        ascii.incrementalencoder,
        ascii.incrementaldecoder,
        name=_ASCII,
    )


codecs.register_error(ESCAPE, _escape)
codecs.register(_find_codec)
