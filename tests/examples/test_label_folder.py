from __future__ import annotations

import csv
import os
import shutil
import sys

import pytest

import hmdrn


@pytest.fixture
def folder(photos, tmp_path):
    """The photos, and beside them a damaged one, a hidden one and a text."""
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no more than a beginning")
    (folder / ".trash").mkdir()
    shutil.copy(next(photos.rglob("*.png")), folder / ".trash" / "old.png")
    (folder / "notes.txt").write_text("found at the pond")
    return folder


@pytest.fixture
def label(example, monkeypatch, gallery):
    """Run the example as a command, in this process."""

    def run(*arguments, gallery=gallery) -> int:
        command = ["label_folder.py", *map(str, arguments), "--gallery", str(gallery)]
        monkeypatch.setattr(sys, "argv", command)
        return example("label_folder.py").main()

    return run


def rows(table):
    with table.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def test_every_readable_photo_has_a_row_with_its_prediction(label, folder, tmp_path, recognizer, capsys):
    table = tmp_path / "labels.csv"
    assert label(folder, table) == 2  # for the damaged one
    labeled = rows(table)
    assert [row["path"] for row in labeled] == sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*.png") if ".trash" not in path.parts
    )
    for row in labeled:
        expected = recognizer.classify(folder / row["path"])
        assert row["label"] == expected.label
        assert float(row["probability"]) == pytest.approx(expected.probability, abs=1e-3)
        assert float(row["margin"]) == pytest.approx(expected.margin, abs=1e-3)
        assert (row["known"], row["second"]) == ("", expected.ranking[1].label)
    right = sum(row["label"] == row["path"].split("/")[0] for row in labeled)
    assert right >= len(labeled) - 1
    printed = capsys.readouterr()
    assert printed.out == f"24 labeled now, 0 before, 1 unreadable: {table}\n"
    assert printed.err.startswith("no row: ")
    assert "broken.jpg" in printed.err
    assert printed.err.count("\n") == 1


def test_it_continues_where_it_stopped_even_within_a_row(label, folder, tmp_path, capsys):
    table, whole = tmp_path / "labels.csv", tmp_path / "whole.csv"
    label(folder, whole)
    lines = whole.read_bytes().splitlines(keepends=True)
    table.write_bytes(b"".join(lines[:9]) + lines[9][:-7])
    capsys.readouterr()
    assert label(folder, table) == 2
    assert capsys.readouterr().out.startswith("16 labeled now, 8 before, 1 unreadable")
    assert table.read_bytes() == whole.read_bytes()
    (folder / "broken.jpg").unlink()
    assert label(folder, table) == 0
    assert capsys.readouterr().out.startswith("0 labeled now, 24 before")
    assert table.read_bytes() == whole.read_bytes()


def test_rows_of_another_gallery_are_reported_and_unchanged(label, photos, tmp_path, gallery, labels, capsys):
    table, other = tmp_path / "labels.csv", tmp_path / "other.gallery"
    assert label(photos, table) == 0
    before = table.read_bytes()
    assert label(photos, table, gallery=shutil.copy(gallery, tmp_path / "copy.gallery")) == 0
    recognizer = hmdrn.load("default", gallery=gallery, threads=1)
    recognizer.forget(labels[0])
    recognizer.save_gallery(other)
    capsys.readouterr()
    assert label(photos, table, gallery=other) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {table} has labels by another gallery")
    assert err.count("\n") == 1
    assert table.read_bytes() == before
    assert label(photos, tmp_path / "others.csv", gallery=other) == 0
    assert {row["made_by"] for row in rows(table)}.isdisjoint(
        row["made_by"] for row in rows(tmp_path / "others.csv")
    )


def test_a_table_cut_off_in_its_first_line_is_started_again(label, photos, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_bytes(b"path,lab")
    assert label(photos, table) == 0
    assert len(rows(table)) == 24


def test_another_file_is_unchanged(label, photos, tmp_path, capsys):
    table = tmp_path / "budget.csv"
    table.write_bytes(b"year,money\n2026,12\n20")
    assert label(photos, table) == 2
    assert table.read_bytes() == b"year,money\n2026,12\n20"
    assert capsys.readouterr().err.startswith(f"error: {table} is not a table of labels")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes as a name")
def test_odd_names_are_labeled_once_and_preserved(label, photos, tmp_path, capsys):
    folder = tmp_path / "odd"
    folder.mkdir()
    source = next(photos.rglob("*.png"))
    names = [b'a,b"c.png', b"\xff\xfe.png", "Käfer.png".encode(), b"=1+1.png"]
    for name in names:
        shutil.copy(source, folder / os.fsdecode(name))
    shutil.copy(source, folder / "two\nlines.png")
    table = tmp_path / "labels.csv"
    assert label(folder, table) == 2
    assert {os.fsencode(row["path"]) for row in rows(table)} == set(names)
    assert "line break" in capsys.readouterr().err
    label(folder, table)
    assert capsys.readouterr().out.startswith("0 labeled now, 4 before, 1 unreadable")


def test_wrong_arguments_are_one_line(label, tmp_path, photos, capsys):
    for arguments, words in (
        ((tmp_path / "none", tmp_path / "labels.csv"), "is not a folder"),
        ((photos, tmp_path / "none" / "labels.csv"), "No such file or directory"),
    ):
        assert label(*arguments) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ")
        assert words in err
        assert err.count("\n") == 1
