"""Identity of a network, the same for every precision of its graphs."""

from __future__ import annotations

import hashlib

from hmdrn_network.checkpoints import canonical_weights
from hmdrn_network.hmdrn import HMDRN
from hmdrn_runtime.io.json_document import canonical_json


def compute_fingerprint(network: HMDRN, preprocessing: str) -> str:
    """Compute the SHA-256 (64 hexadecimal digits) of everything that a gallery's statistics depend on.

    Args:
        network: Its configuration and its float32 weights (by name, in little-endian bytes) are hashed.
        preprocessing: "crop" or "squash"; hashed with the mean and standard deviation of the input.
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
