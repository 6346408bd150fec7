"""Products in parts are those of the whole, whatever the sizes."""

from __future__ import annotations

import numpy as np
import pytest

from hmdrn_runtime.matching.index.products import products, table


@pytest.mark.parametrize("photos", [0, 1, 2, 5, 15, 16, 40])
@pytest.mark.parametrize("species", [0, 1, 47, 48, 49, 333])
def test_a_table_is_the_product_of_all_with_all(photos, species):
    rng = np.random.default_rng(photos)
    rows, vectors = rng.standard_normal((species, 4160)), rng.standard_normal((photos, 4160))
    found = table(rows.astype(np.float32), vectors.astype(np.float32))
    assert (found.shape, found.dtype) == ((species, photos), np.float32)
    assert np.allclose(found, rows @ vectors.T, atol=2e-3)


def test_products_are_those_of_each_row():
    rng = np.random.default_rng(0)
    rows, vector = rng.standard_normal((33, 100)), rng.standard_normal(100)
    assert np.allclose(products(rows, vector), [row @ vector for row in rows])
