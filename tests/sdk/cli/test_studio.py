"""`hmdrn studio`, as far as it needs no server; tests/sdk/studio has the pages."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hmdrn.cli.commands import studio


@pytest.mark.parametrize("issue", [None, "built for L4T 36.4, here is 36.5"])
def test_the_studio_warns_where_engines_do_not_run(issue, monkeypatch, tmp_path, capsys):
    recognizer = SimpleNamespace(
        backend_report=SimpleNamespace(engines_issue=issue, backend="onnxruntime"),
        matcher=SimpleNamespace(keep_thumbnails=False),
        follow_gallery=lambda path, report: None,
    )
    monkeypatch.setattr(studio, "load", lambda *_, **__: recognizer)
    studio._load("default", tmp_path / "new.gallery", None)
    words = f"the TensorRT engines do not run, so onnxruntime answers, which is slower: {issue}"
    assert (words in capsys.readouterr().err) == (issue is not None)
