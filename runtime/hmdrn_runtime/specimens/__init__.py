"""Specimens of invented, look-alike butterflies, drawn with NumPy and Pillow alone.

All species share one body plan and differ in small, constant markings, so that telling them apart is a
fine-grained task. Specimens of one species differ in pose, light, background, wear and by a little jitter.
Only arithmetic and square roots touch whole images: other functions round differently across platforms.
"""
