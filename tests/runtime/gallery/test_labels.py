from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmdrn_runtime.errors import EnrollmentError
from hmdrn_runtime.gallery.labels import (
    clean_label,
    describe_lookalikes,
    find_lookalikes,
    fold_label,
    normalize_label,
)


@pytest.mark.parametrize(
    "other",
    [
        *(
            "grey_wren",
            "GREY-WREN",
            "GreyWren",
            "Grey  Wren",
            "Grey\u00a0Wren",
            "Grey\u2011Wren",
            "Grey Wren.",
        ),
        "ＧＲＥＹ　Ｗｒｅｎ",
        *("\ufeffGrey Wren", "Gr\u200bey Wren", "Grey\u200dWren", "Gre\u00ady Wren", "Grey Wren\u200e"),
        "Gr\u0435y Wren",  # a Cyrillic е
        "Grey Wren\ufe0f",
    ],
)
def test_labels_that_look_alike_are_found(other):
    assert find_lookalikes(["robin", other, "Grey Wren"]) == [tuple(sorted([other, "Grey Wren"]))]
    assert normalize_label(other) != "Grey Wren", "they stay two species"


@pytest.mark.parametrize("label", ["caf\udce9", "a\ud800b"])
def test_a_label_of_a_folder_that_is_not_named_in_utf8_is_refused(label):
    with pytest.raises(EnrollmentError, match=r"the label '.*\\ud.*' is not UTF-8: give .* another name"):
        clean_label(label)


@pytest.mark.parametrize("apostrophe", ["'", "’", "ʼ", "`", "´", "＇", "ʻ", "ʹ", ""])
def test_every_kind_of_apostrophe_looks_alike(apostrophe):
    assert fold_label(f"Anna{apostrophe}s") == fold_label("Anna's")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ﬁnch", "FINCH"),
        ("Straße", "STRASSE"),
        ("ｽｽﾞﾒ", "スズメ"),
        ("Теrn", "Tern"),
        ("Κea", "kea"),
        ("ТОН", "тон"),
    ],
)
def test_ligatures_widths_and_letters_of_two_alphabets_look_alike(first, second):
    assert find_lookalikes([first, second])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("plot 1 5", "plot 15"),
        ("A", "A-"),
        ("type +", "type -"),
        ("Larus sp. 1", "Larus sp. 2"),
        ("e", "é"),
        ("👨‍👩‍👧", "👨👩👧"),
        ("🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🏴󠁧󠁢󠁳󠁣󠁴󠁿"),
        ("می‌خواهم", "میخواهم"),
        ("क्‍ष", "क्ष"),
        ("か", "が"),
    ],
)
def test_labels_that_differ_visibly_are_not_alike(first, second):
    assert find_lookalikes([first, second]) == []


def test_a_message_names_the_characters_that_are_not_seen():
    assert describe_lookalikes(["Anna’s", "Annaʼs"]) == "'Anna’s' (U+2019) and 'Annaʼs' (U+02BC)"
    assert describe_lookalikes(["Kea", "kea", "KEA"]) == "'Kea', 'kea' and 'KEA'"
    assert "U+FEFF" in describe_lookalikes(["wren", "\ufeffwren"])


@given(st.text(), st.text())
def test_labels_of_one_normal_form_look_alike(first, second):
    assert fold_label(normalize_label(first)) == fold_label(unicodedata.normalize("NFD", first).strip())
    assert bool(find_lookalikes([first, second])) == (
        first != second and fold_label(first) == fold_label(second)
    )
