"""A matcher for benchmarks that judge thousands of galleries of the same photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from hmdrn.loading import resolve_checkpoint
from hmdrn_calibration.open_set.background_fit import Group, sum_tokens
from hmdrn_network.checkpoints import load_checkpoint
from hmdrn_network.heads.ridge import RidgeHead, doubled_off_diagonals, pack, unpack
from hmdrn_runtime.gallery.photo_statistics import Float32, level_slices
from hmdrn_runtime.gallery.species import Species
from hmdrn_runtime.matching.ridge import RidgeMatcher
from hmdrn_runtime.recognizer import Recognizer

MOST_CACHED = 1000
"""Solved classes that are kept: those of one gallery are far fewer."""


class FastMatcher(RidgeMatcher):
    """Solves by Cholesky decomposition, several times sooner than the graph, and each class once."""

    heads: Mapping[str, RidgeHead]
    cache: dict[bytes, Float32]

    @classmethod
    def create(
        cls, recognizer: Recognizer, groups: Mapping[str, Group]
    ) -> tuple[FastMatcher, dict[str, Group]]:
        """Return a matcher for a recognizer's bundle, and photos with Gram matrices in place of tokens.

        Raises:
            TypeError: The head is attention.
        """
        if not isinstance(recognizer.matcher, RidgeMatcher):
            raise TypeError("give a bundle with the ridge head")
        summed, parts = sum_tokens(recognizer.matcher, groups)
        matcher = cls(summed.network, summed.backend, summed.variant)
        heads = load_checkpoint(resolve_checkpoint(str(recognizer.bundle.path))).network.heads
        matcher.heads = {name: head for name, head in heads.items() if isinstance(head, RidgeHead)}
        matcher.cache = {}
        return matcher, parts

    def operators(self, species: Sequence[Species]) -> list[Float32]:
        """As `RidgeMatcher.operators`."""
        if len(self.cache) > MOST_CACHED:
            self.cache.clear()
        new = [one for one in species if one.key not in self.cache]
        self.cache.update(zip([one.key for one in new], super().operators(new), strict=True))
        return [self.cache[one.key] for one in species]

    @torch.inference_mode()
    def solve(self, gram: Float32, shots: Float32, labels: Sequence[str]) -> Float32:
        """As `RidgeMatcher.solve`; raises LinAlgError where that raises EnrollmentError."""
        parts = []
        for level in self.network.levels:
            packed = torch.from_numpy(gram[:, level_slices(self.network)[level.name]].astype(np.float32))
            tokens = torch.from_numpy(np.asarray(shots, np.float32)) * level.tokens
            operator = self.heads[level.name].operator(unpack(packed, level.channels), tokens)
            parts.append(pack(operator) * doubled_off_diagonals(level.channels))
        solved: Float32 = torch.cat(parts, dim=1).numpy()
        return solved
