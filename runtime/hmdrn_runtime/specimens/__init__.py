"""Specimens of invented, look-alike butterflies, drawn with NumPy and Pillow alone.

All species share one body plan and differ in small, constant markings, so that telling them apart is a
fine-grained task. Specimens of one species differ in pose, light, background, wear and by a little jitter.
Only arithmetic and square roots touch whole images: other functions round differently across platforms.
"""

from hmdrn_runtime.specimens.drawing import draw_specimen, draw_specimens
from hmdrn_runtime.specimens.traits import species_name

__all__ = ["draw_specimen", "draw_specimens", "species_name"]
