"""Specimens of invented, look-alike butterflies, drawn with NumPy and Pillow alone.

All species share one body plan and differ in small, constant markings, so that classifying them is a
fine-grained task. Specimens of one species differ in pose, light, background, wear and slightly in their
markings. Only arithmetic and square roots touch whole images: others round differently across platforms.
"""
