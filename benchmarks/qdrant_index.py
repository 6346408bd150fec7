"""Recall of the graph index (HNSW) of Qdrant's engine, on this machine, without a server."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

import numpy as np

from hmdrn.cli.options import require_package
from hmdrn_runtime.gallery.photo_statistics import Float32, Float64

M, EF_CONSTRUCT = 16, 100
"""A server's defaults."""
_PART = 64
_FULL_SCAN = 10  # KB: everything larger is searched by the graph


def measure_index_recall(
    vectors: Float32, queries: Sequence[Float64], best: np.ndarray, candidates: int
) -> float:
    """Return the share of the best species among the candidates, 0-1.

    Args:
        vectors: Vectors as the engine stores them, (C, P).
        queries: Query vectors as it receives them, (P,) each.
        best: Rows of the best species of each query, (B, k).
        candidates: Number of species to ask for.

    Raises:
        MissingDependencyError: The package qdrant-edge-py is not installed.
    """
    require_package("qdrant_edge", "the engine's index", "benchmarks")
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
            points = shard.query(engine.QueryRequest(limit=candidates, query=nearest))
            shares.append(np.isin(rows, [point.id for point in points]).mean())
        shard.close()
    return float(np.mean(shares))
