"""Graphs of a bundle with their weights inside, as the exporter had them."""

from __future__ import annotations

from pathlib import Path

import onnx


def load_graph(path: Path) -> onnx.ModelProto:
    """Load a graph, its weights read from the bundle's checkpoint."""
    from hmdrn_export.graphs.rewriting import fold_constants

    model = onnx.load(path)
    fold_constants(model)
    return model
