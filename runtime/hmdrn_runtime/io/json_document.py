"""Typed reading of JSON documents that may be damaged or hostile."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, TypeVar

from hmdrn_runtime.errors import HmdrnError

T = TypeVar("T")


class JsonObject:
    """A JSON object that checks the types of its entries as they are read.

    Args:
        values: The parsed object.
        where: Its name in messages, e.g. "birds.hmdrn/manifest.json".
        error: The type of error to raise.

    Raises:
        HmdrnError: Of the type `error`, here and in every method, naming the bad entry.
    """

    def __init__(self, values: object, where: str, error: type[HmdrnError]) -> None:
        if not isinstance(values, dict):
            raise error(f"{where} is damaged: expected an object, found {type(values).__name__}")
        self.values, self.where, self.error = values, where, error

    @classmethod
    def parse(cls, text: str | bytes, where: str, error: type[HmdrnError]) -> JsonObject:
        """Parse JSON text."""
        try:
            values = json.loads(text, parse_float=_parse_finite, parse_constant=_parse_finite)
            json.dumps(values, ensure_ascii=False).encode()  # refuses halves of surrogate pairs
        except (ValueError, RecursionError) as cause:
            raise error(f"{where} is damaged: not valid JSON ({cause})") from cause
        return cls(values, where, error)

    def get(self, key: str, kind: type[T]) -> T:
        """Return the entry `key`, which must be of type `kind`; an int passes for a float."""
        if key not in self.values:
            raise self.error(f"{self.where} is damaged: no entry {key!r}")
        value: Any = self.values[key]
        if kind is float and type(value) is int and abs(value) < 2**53:
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.error(
                f"{self.where} is damaged: {key!r} is {type(value).__name__}, expected {kind.__name__}"
            )
        return value

    def child(self, key: str) -> JsonObject:
        """Return the object under `key`."""
        return JsonObject(self.get(key, dict), f"{self.where}: {key}", self.error)

    def children(self) -> dict[str, JsonObject]:
        """Return the objects in this object by name."""
        return {name: self.child(name) for name in self.values}

    def objects(self, key: str) -> Iterator[JsonObject]:
        """Yield the objects of the list `key`, reading a hostile list only up to its first bad entry."""
        for i, value in enumerate(self.get(key, list)):
            yield JsonObject(value, f"{self.where}: {key}[{i}]", self.error)

    def sequence(self, key: str, *kinds: type[T]) -> tuple[T, ...]:
        """Return the entries of the list `key`, each of one of the types `kinds`."""
        values = self.get(key, list)
        if not all(isinstance(v, kinds) and not isinstance(v, bool) for v in values):
            names = " or ".join(kind.__name__ for kind in kinds)
            raise self.error(f"{self.where} is damaged: {key!r} holds something other than {names}")
        return tuple(values)


def _parse_finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def is_encodable(text: str) -> bool:
    """Return whether a text is valid in UTF-8: file names with undecodable bytes are not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def canonical_json(values: object) -> str:
    """Return the canonical text of a JSON value: sorted keys, indented by two spaces, ending in a newline.

    Undecodable bytes of a file's name, which are no text, become question marks.
    """
    text = json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    return text if is_encodable(text) else text.encode(errors="replace").decode()
