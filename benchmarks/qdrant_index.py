"""What the graph index (HNSW) of Qdrant's engine finds of species, on this machine, without a server."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

import numpy as np

from hmdrn.cli.options import require
from hmdrn_runtime.gallery.photo_statistics import Float32, Float64

M, EF_CONSTRUCT = 16, 100
"""A server's defaults."""
_PART = 64
_FULL_SCAN = 10  # KB: everything above is searched by the graph


def index_recall(vectors: Float32, queries: Sequence[Float64], best: np.ndarray, candidates: int) -> float:
    """The share of the best species that are among the candidates, 0-1.

    Args:
        vectors: As the engine keeps them, (C, P).
        queries: As it is asked, (P,) each.
        best: Rows of the best species of each query, (B, k).
        candidates: Species that it is asked for.

    Raises:
        MissingDependencyError: The package qdrant-edge-py is not installed.
    """
    require("qdrant_edge", "the engine's index", "benchmarks")
    import qdrant_edge as engine

    index = engine.HnswIndexConfig(m=M, ef_construct=EF_CONSTRUCT, full_scan_threshold=_FULL_SCAN)
    config = engine.EdgeConfig(
        vectors=engine.EdgeVectorParams(vectors.shape[1], engine.Distance.Dot, hnsw_config=index),
        optimizers=engine.EdgeOptimizersConfig(indexing_threshold=_FULL_SCAN, default_segment_number=1),
    )
    with tempfile.TemporaryDirectory() as folder:
        shard = engine.EdgeShard.create(folder, config)
        for start in range(0, len(vectors), _PART):
            part = enumerate(vectors[start : start + _PART].tolist(), start)
            points = [engine.Point(row, vector, {}) for row, vector in part]
            shard.update(engine.UpdateOperation.upsert_points(points))
        shard.optimize()
        shares = []
        for query, rows in zip(queries, best, strict=True):
            nearest = engine.Query.Nearest(query.astype(np.float32).tolist())
            found = shard.query(engine.QueryRequest(limit=candidates, query=nearest))
            shares.append(np.isin(rows, [point.id for point in found]).mean())
        shard.close()
    return float(np.mean(shares))
