"""The identity of a network, the same for every precision that it is exported in."""

from __future__ import annotations

import hashlib

from hmdrn_network.checkpoints import canonical_weights
from hmdrn_network.hmdrn import HMDRN
from hmdrn_runtime.io.json_document import canonical_json


def fingerprint(network: HMDRN, preprocessing: str) -> str:
    """SHA-256 of what a gallery's statistics depend on.

    Args:
        network: Its float32 weights (by name, in little-endian bytes) and its configuration count.
        preprocessing: "crop" or "squash"; counts with the mean and standard deviation of the input.

    Returns:
        64 hexadecimal digits.
    """
    settings = {
        "config": network.config.to_dict(),
        "preprocessing": preprocessing,
        "mean": network.config.spec.mean,
        "std": network.config.spec.std,
    }
    digest = hashlib.sha256(canonical_json(settings).encode())
    for name, value in sorted(canonical_weights(network).items()):
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()
