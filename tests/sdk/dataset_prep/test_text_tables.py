from __future__ import annotations

import pytest

from hmdrn.dataset_prep.text_tables import safe_label
from hmdrn_runtime.errors import DatasetError


def test_a_name_is_the_label_that_a_gallery_would_store():
    assert safe_label(" Me\u0301sange/bleue ", "list.txt") == "M\u00e9sange-bleue"


@pytest.mark.parametrize("name", ["", "..", ".hidden", "$RECYCLE.BIN", "@eaDir", "lost+found", "a\x07"])
def test_a_name_that_would_be_passed_over_is_refused(name):
    with pytest.raises(DatasetError, match=r"list\.txt has a name that a folder cannot have"):
        safe_label(name, "list.txt")
