"""Ways from a photo to a network's input: the papers', and that of the package's own model."""

from __future__ import annotations

from hmdrn.loading import resolve_bundle
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.images.preprocessing import Preprocessing

CROP, SQUASH = Preprocessing("crop", 84), Preprocessing("squash", 84)
DEFAULT = open_bundle(resolve_bundle("default")).manifest.input.to_preprocessing()
