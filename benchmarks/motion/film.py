"""Films of subjects pasted before a moving background, with their true boxes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from hmdrn_runtime.images.preprocessing import Box

UInt8: TypeAlias = npt.NDArray[np.uint8]
Float32: TypeAlias = npt.NDArray[np.float32]

REFERENCE_HEIGHT = 1080
"""Height in pixels for which sizes and sways are stated."""
ELLIPSE = 0.75, 0.95
"""Width and height of the pasted ellipse, as shares of the photo's side."""


@dataclass(frozen=True)
class Conditions:
    """Conditions that make a film hard.

    Attributes:
        leaves: Number of swaying leaves.
        sway: Largest amplitude of a leaf in pixels at 1080 lines.
        drift: Share by which the light drifts, over two minutes.
        cloud: Share of the light that a cloud takes within two seconds, once in half a minute.
        noise: Standard deviation of the camera's noise, 0-255.
        shake: Amplitude in pixels at 1080 lines of a camera that is not static.
    """

    leaves: int = 40
    sway: float = 18.0
    drift: float = 0.15
    cloud: float = 0.15
    noise: float = 3.0
    shake: float = 0.0


@dataclass(frozen=True)
class FilmSettings:
    """Length and size of a film.

    Attributes:
        seconds: Its length.
        rate: Frames a second.
        size: Width and height in pixels.
        heights: Least and largest height of a subject as shares of the film's.
        visits: Least and most seconds of a visit.
        pauses: Least and most seconds between two visits.
        seed: Chooses everything else.
    """

    seconds: float = 60.0
    rate: float = 15.0
    size: tuple[int, int] = (1920, 1080)
    heights: tuple[float, float] = (0.03, 0.4)
    visits: tuple[float, float] = (1.2, 8.0)
    pauses: tuple[float, float] = (1.2, 3.4)
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Visit:
    """A subject that comes and goes.

    Attributes:
        start: Its first moment in seconds.
        end: Its last.
        subject: Index of the photo.
        side: Side of the pasted square in pixels.
        path: Where its middle enters and leaves, x and y in pixels.
        sits: Whether it flies in, sits and flies off; else it crosses the picture.
        pixels: The square, BGR.
        mask: Its opacity, 0-1.
    """

    start: float
    end: float
    subject: int
    side: int
    path: tuple[npt.NDArray[Any], npt.NDArray[Any]]
    sits: bool
    pixels: Float32
    mask: Float32

    def locate(self, time: float, width: int) -> Any:
        """Return the middle of the subject at a time, x and y in pixels."""
        begin, end = self.path
        if not self.sits:
            return begin + (end - begin) * (time - self.start) / (self.end - self.start)
        arriving, leaving = min(1.0, (time - self.start) / 0.4), max(0.0, (time - self.end + 0.4) / 0.4)
        entry, exit_ = np.array([-self.side / 2, begin[1]]), np.array([width + self.side / 2, begin[1]])
        nod = self.side * np.array([0.02 * math.sin(7 * time), 0.03 * math.sin(5 * time)])
        if int(time) % 4 == 3:  # it also sits quite still
            nod[:] = 0
        return (
            entry + (begin - entry) * arriving if arriving < 1 else begin + (exit_ - begin) * leaving
        ) + nod


class Film:
    """A film before a static camera; iterate over it for frames, as often as you like.

    Args:
        subjects: Square photos, BGR.
        settings: Length and size.
        conditions: What makes it hard.

    Attributes:
        visits: The visits in order.
    """

    def __init__(
        self, subjects: Sequence[UInt8], settings: FilmSettings, conditions: Conditions | None = None
    ) -> None:
        self.settings, self._conditions = settings, conditions or Conditions()
        self._random = np.random.default_rng(settings.seed)
        self._scale = settings.size[1] / REFERENCE_HEIGHT
        self._background = self._draw_background()
        self._leaves = self._plan_leaves()
        self.visits = self._plan_visits(subjects)

    def __iter__(self) -> Iterator[tuple[UInt8, list[tuple[int, Box]], float]]:
        """Yield each frame in BGR, the number and true box of each visit in it, and its time in seconds."""
        random = np.random.default_rng(self.settings.seed + 1)
        width, height = self.settings.size
        noise = random.normal(0, self._conditions.noise, (height + 64, width + 64, 3)).astype(np.int16)
        for index in range(round(self.settings.seconds * self.settings.rate)):
            time = index / self.settings.rate
            frame = self._sway(time)
            truth = []
            for number, visit in enumerate(self.visits):
                if visit.start <= time <= visit.end and (box := self._paste(frame, visit, time)) is not None:
                    truth.append((number, box))
            frame = np.asarray(cv2.convertScaleAbs(frame, alpha=self._light(time)), np.uint8)
            if self._conditions.shake:
                shift = self._scale * self._conditions.shake * random.normal(0, 1, 2)
                matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
                moved = cv2.warpAffine(frame, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
                frame = np.asarray(moved, np.uint8)
            down, across = random.integers(0, 64, 2)
            grain = noise[down : down + height, across : across + width]
            yield np.asarray(cv2.add(frame, grain, dtype=cv2.CV_8U), np.uint8), truth, time

    def _light(self, time: float) -> float:
        drift = 1 + self._conditions.drift * math.sin(2 * math.pi * time / 120)
        phase = (time + 7) % 30
        return drift * (1 - self._conditions.cloud * float(np.clip(min(phase - 15, 30 - phase) / 2, 0, 1)))

    def _draw_background(self) -> UInt8:
        """Draw patches of several sizes, as foliage out of focus."""
        width, height = self.settings.size
        image = np.full((height, width, 3), (70, 110, 95), np.float32)
        for cells, contrast in ((6, 36), (24, 18), (96, 10), (300, 5)):
            shape = (min(height, cells) + 2, min(width, cells * width // height) + 2, 3)
            patches = self._random.normal(0, contrast, shape).astype(np.float32)
            image += cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)
        return np.clip(image, 0, 255).astype(np.uint8)

    def _plan_leaves(self) -> list[dict[str, Any]]:
        random, (width, height), scale = self._random, self.settings.size, self._scale
        return [
            {
                "middle": random.uniform((0, 0), (width, height)),
                "radius": scale * random.uniform(20, 90),
                "speed": random.uniform(0.2, 1.2),
                "sway": scale * random.uniform(0.2, 1.0) * self._conditions.sway,
                "phase": random.uniform(0, 6),
                "color": random.uniform(60, 170, 3).tolist(),
            }
            for _ in range(self._conditions.leaves)
        ]

    def _plan_visits(self, subjects: Sequence[UInt8]) -> list[Visit]:
        random, settings = self._random, self.settings
        (width, height), visits, start = settings.size, [], 3.0
        while (end := start + random.uniform(*settings.visits)) < settings.seconds - 1:
            subject = int(random.integers(len(subjects)))
            side = max(8, round(height * math.exp(random.uniform(*np.log(settings.heights))) / ELLIPSE[1]))
            path = [random.uniform(side / 2, (width - side / 2, height - side / 2)) for _ in range(2)]
            pixels = cv2.resize(subjects[subject], (side, side), interpolation=cv2.INTER_AREA)
            across = (np.arange(side) + 0.5) / side * 2 - 1
            inside = (across / ELLIPSE[0]) ** 2 + (across[:, None] / ELLIPSE[1]) ** 2 <= 1
            soft = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), max(0.5, side / 60))
            mask = np.asarray(soft, np.float32)
            sits = bool(random.random() < 0.5)
            visits.append(
                Visit(start, end, subject, side, (path[0], path[1]), sits, pixels.astype(np.float32), mask)
            )
            start = end + random.uniform(*settings.pauses)
        return visits

    def _sway(self, time: float) -> UInt8:
        frame: UInt8 = self._background.copy()
        gust = 0.6 + 0.4 * math.sin(time / 5)
        for leaf in self._leaves:
            turn = 2 * math.pi * leaf["speed"] * time + leaf["phase"]
            sway = leaf["sway"] * gust
            x = leaf["middle"][0] + sway * (math.sin(turn) + 0.5 * math.sin(9.1 * leaf["speed"] * time))
            y = leaf["middle"][1] + 0.4 * sway * math.cos(0.8 * turn)
            axes = max(1, round(leaf["radius"])), max(1, round(0.45 * leaf["radius"]))
            angle = 40 * math.sin(leaf["phase"]) + 10 * math.sin(turn)
            cv2.ellipse(frame, (round(x), round(y)), axes, angle, 0, 360, leaf["color"], -1, cv2.LINE_AA)
        return frame

    def _paste(self, frame: UInt8, visit: Visit, time: float) -> Box | None:
        """Paste a subject and return its true box, clipped to the frame; None if too little is inside."""
        width, height = self.settings.size
        middle = visit.locate(time, width)
        x, y = np.round(middle - visit.side / 2).astype(int)
        x0, y0, x1, y1 = max(0, x), max(0, y), min(width, x + visit.side), min(height, y + visit.side)
        half = visit.side / 2 * np.array(ELLIPSE)
        center = np.array([x, y]) + visit.side / 2
        low, high = np.maximum(center - half, 0), np.minimum(center + half, (width, height))
        if x1 <= x0 or y1 <= y0 or np.any(high - low < half):
            return None
        part = np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
        mask = visit.mask[part][..., None]
        frame[y0:y1, x0:x1] = frame[y0:y1, x0:x1] * (1 - mask) + visit.pixels[part] * mask
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])
