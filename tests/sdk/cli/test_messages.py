"""Lines for people, which hold no password whatever went wrong."""

from __future__ import annotations

import pytest

from hmdrn.cli.messages import format_message

ADDRESS = "rtsp://keeper:s3cret@10.0.0.7/x?token=t0ken5"


def test_a_line_has_no_break_and_no_secret():
    assert format_message(f"cannot open\n{ADDRESS}") == "hmdrn: cannot open rtsp://***@10.0.0.7/x?token=***"


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", ADDRESS),
        ("inspect", "default", ADDRESS),
        ("inspect", "default", f"--{ADDRESS}"),
        (ADDRESS,),
        ("watch", ADDRESS, "--source", "0", "--gallery", "site.gallery"),
        ("watch", "default", "--source", ADDRESS, "--gallery", ADDRESS),
        ("watch", "default", "--source", ADDRESS, "--gallery", "site.gallery", "--boxes", ADDRESS),
        ("watch", "default", "--source", ADDRESS, "--gallery", "site.gallery", "--smoothing", ADDRESS),
        ("watch", "default", "--source", ADDRESS, "--gallery", "site.gallery", "--overlay", ADDRESS),
        ("watch", "default", "--source", ADDRESS, "--gallery", "site.gallery", "--snapshots", ADDRESS),
        ("classify", "default", ADDRESS, "--gallery", ADDRESS),
        ("classify", "default", ADDRESS, "--gallery", "{gallery}", "--json"),
        ("explain", "default", ADDRESS, "--gallery", ADDRESS),
        ("enroll", "default", ADDRESS, "--gallery", ADDRESS),
        ("gallery", "show", ADDRESS, "Moth"),
        ("gallery", "merge", ADDRESS, ADDRESS),
        ("eval", ADDRESS, ADDRESS),
        ("eval", "default", ADDRESS),
        ("export", "--checkpoint", ADDRESS),
        ("demo", "--bundle", ADDRESS),
    ],
    ids=" ".join,
)
def test_no_refusal_of_a_command_shows_a_password(hmdrn, arguments, gallery, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = hmdrn(*(argument.format(gallery=gallery) for argument in arguments))
    assert outcome.code == 2
    shown = outcome.out + outcome.err
    assert outcome.err.count("\n") == 1
    assert "10.0.0.7" in shown or "site.gallery" in shown
    assert "s3cr" not in shown
    assert "t0ken" not in shown
