from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

import hmdrn
from hmdrn_runtime.backends.base import Backend
from hmdrn_runtime.backends.selection import open_backend
from hmdrn_runtime.bundle.bundle import open_bundle
from hmdrn_runtime.bundle.manifest import Level, Network
from hmdrn_runtime.errors import BackendError, EnrollmentError
from hmdrn_runtime.gallery.gallery import Gallery
from hmdrn_runtime.gallery.photo_statistics import PhotoStatistics, packed_gram
from hmdrn_runtime.gallery.species import Species, extend_species
from hmdrn_runtime.images.preprocessing import hash_pixels
from hmdrn_runtime.matching.attention import AttentionMatcher
from hmdrn_runtime.matching.factory import open_matcher
from hmdrn_runtime.matching.ridge import MAX_RESIDUAL, RidgeMatcher
from hmdrn_runtime.specimens.drawing import draw_specimens

EPSILON = 2.0**-24
PACKAGED = Path(hmdrn.__file__).parent / "models" / "default.hmdrn"  # an EfficientNet-Lite0
BACKBONES = ["conv4", pytest.param("resnet12", marks=pytest.mark.slow)]


# --- The reference: reconstruction as the paper writes it, in float64 -----------------------------------


@dataclass(frozen=True)
class Ridge:
    """The learned constants of one level."""

    level: Level
    alpha: float
    beta: float

    def regularisation(self, shots: int) -> float:
        return shots * self.level.tokens / self.level.channels * np.exp(self.alpha) + 1e-6

    def distance(self, Q: np.ndarray, S: np.ndarray) -> float:
        """|Q - rho Q H|^2 with H = (S'S + lambda I)^-1 S'S, a d x d system."""
        lam = self.regularisation(len(S) // self.level.tokens)
        H = np.linalg.solve(S.T @ S + lam * np.eye(S.shape[1]), S.T @ S)
        return float(np.sum((Q - np.exp(self.beta) * Q @ H) ** 2))

    def distance_by_woodbury(self, Q: np.ndarray, S: np.ndarray) -> float:
        """The same with H = S' (S S' + lambda I)^-1 S, an n x n system."""
        lam = self.regularisation(len(S) // self.level.tokens)
        reconstructed = Q @ S.T @ np.linalg.solve(S @ S.T + lam * np.eye(len(S)), S)
        return float(np.sum((Q - np.exp(self.beta) * reconstructed) ** 2))


def pack(symmetric: np.ndarray) -> np.ndarray:
    return symmetric[np.triu_indices(len(symmetric))]


def unpack_operator(packed: np.ndarray, channels: int) -> np.ndarray:
    """W^2 of a packed operator, whose off-diagonal entries are doubled."""
    half = np.zeros((channels, channels))
    half[np.triu_indices(channels)] = packed
    return (half + half.T) / 2


def cuts(network: Network) -> dict[str, slice]:
    """Where each level lies in packed arrays."""
    ends = np.cumsum([0, *(level.packed for level in network.levels)])
    return {level.name: slice(ends[i], ends[i + 1]) for i, level in enumerate(network.levels)}


def conditioned(S: np.ndarray, lam: float, condition: float) -> np.ndarray:
    """Tokens scaled so that S'S + lambda I has a condition number, rounded to float32 values."""
    largest = np.linalg.eigvalsh(S.T @ S)[-1]
    return (S * np.sqrt((condition - 1) * lam / largest)).astype(np.float32).astype(np.float64)


# --- What is tested ---------------------------------------------------------------------------------------


class Counting(Backend):
    """Counts the classes that the solve is asked for; `change` alters what graphs give."""

    def __init__(
        self, backend: Backend, change: Callable[[str, dict[str, Any]], dict[str, Any]] = lambda _, out: out
    ) -> None:
        self.name, self.backend, self.change, self.solved = backend.name, backend, change, []

    def place(self, array: np.ndarray) -> Any:
        return self.backend.place(array)

    def run(self, graph: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        if graph == "solve":
            self.solved.append(len(inputs["gram"]))
        return self.change(graph, self.backend.run(graph, inputs))


@pytest.fixture(scope="module")
def backends(exported):
    opened: dict[tuple[str, str], Any] = {}

    def open_once(backbone: str, head: str) -> Any:
        if (backbone, head) not in opened:
            packaged = backbone == "efficientnet-lite0"
            bundle = open_bundle(PACKAGED if packaged else exported(backbone, head), "fp32")
            opened[backbone, head] = (bundle.manifest.network, open_backend(bundle, threads=1))
        return opened[backbone, head]

    return open_once


@pytest.fixture(scope="module")
def matcher(backends):
    """A fresh matcher, which knows no operator yet, of a backend that is opened once."""
    return lambda backbone="conv4", head="ridge": open_matcher(*backends(backbone, head), "fp32")


@pytest.fixture(scope="module")
def ridges(backends, seeded_checkpoint):
    def read(backbone: str) -> list[Ridge]:
        packaged = PACKAGED / "graphs/fp32/weights.safetensors"
        weights = load_file(
            packaged if backbone == "efficientnet-lite0" else seeded_checkpoint(backbone, "ridge")
        )
        return [
            Ridge(v, float(weights[f"heads.{v.name}.alpha"]), float(weights[f"heads.{v.name}.beta"]))
            for v in backends(backbone, "ridge")[0].levels
        ]

    return read


@pytest.fixture(scope="module")
def pixels():
    return draw_specimens(range(3), 5, size=84).reshape(-1, 84, 84, 3)


@pytest.fixture(scope="module")
def photos(matcher, pixels):
    """Statistics of 15 photos, by head: species i has photos 5 i to 5 i + 4."""
    made: dict[str, list[PhotoStatistics]] = {}

    def make(head: str) -> list[PhotoStatistics]:
        if head not in made:
            made[head] = matcher("conv4", head).compute_statistics(pixels)
        return made[head]

    return make


def classes_of(photos: Sequence[PhotoStatistics], *rows: Sequence[int]) -> list[Species]:
    return [extend_species(None, f"species {i}", [photos[r] for r in part]) for i, part in enumerate(rows)]


def solved(matcher: RidgeMatcher, ridges: Sequence[Ridge], shots: Sequence[int], condition: float, seed: int):
    """Random support tokens by class and level, and the operators that the runtime makes of them."""
    rng = np.random.default_rng(seed)
    tokens = [
        [
            conditioned(
                rng.standard_normal((s * r.level.tokens, r.level.channels)), r.regularisation(s), condition
            )
            for r in ridges
        ]
        for s in shots
    ]
    gram = np.stack([np.concatenate([pack(S.T @ S) for S in levels]) for levels in tokens])
    operators = matcher.solve(gram, np.array(shots, np.float32), [f"{s} shots" for s in shots])
    assert operators.dtype == np.float32
    assert operators.shape == gram.shape
    return tokens, operators


def test_the_matcher_is_that_of_the_head(matcher):
    assert type(matcher("conv4", "ridge")) is RidgeMatcher
    assert type(matcher("conv4", "attention")) is AttentionMatcher


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize(("condition", "tolerance"), [(30, 1e-4), (1e3, 1e-4), (1e4, 1e-3)])
def test_classes_of_1_5_and_20_shots_match_both_formulas_in_float64(
    matcher, ridges, backbone, condition, tolerance
):
    levels = ridges(backbone)
    one = matcher(backbone)
    tokens, operators = solved(one, levels, (1, 5, 20), condition, seed=0)
    rng = np.random.default_rng(1)
    for ridge, cut in zip(levels, cuts(one.network).values(), strict=True):
        Q = rng.standard_normal((ridge.level.tokens, ridge.level.channels))
        query = pack(Q.T @ Q).astype(np.float32)
        level = levels.index(ridge)
        for support, operator in zip(tokens, operators, strict=True):
            found = float(query @ operator[cut])
            by_d, by_n = (
                formula(Q, support[level]) for formula in (ridge.distance, ridge.distance_by_woodbury)
            )
            # The references include their own accuracy.
            assert by_d == pytest.approx(by_n, rel=tolerance / 100)
            assert found == pytest.approx(by_d, rel=tolerance)
            assert found == pytest.approx(by_n, rel=tolerance)


def test_every_number_of_shots_from_1_to_20_is_solved_right_in_one_batch(matcher, ridges):
    levels = ridges("conv4")
    one = matcher()
    tokens, operators = solved(one, levels, range(1, 21), 1e3, seed=2)
    rng = np.random.default_rng(3)
    for ridge, cut in zip(levels, cuts(one.network).values(), strict=True):
        Q = rng.standard_normal((ridge.level.tokens, ridge.level.channels))
        found = operators[:, cut].astype(np.float64) @ pack(Q.T @ Q)
        expected = [ridge.distance(Q, support[levels.index(ridge)]) for support in tokens]
        np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("condition", [1e3, 1e5])
def test_a_photo_of_the_class_itself_is_wrong_by_rounding_at_most(matcher, ridges, backbone, condition):
    # Its distance is next to nothing; the error is measured by the photo, |Q|^2.
    levels = ridges(backbone)
    one = matcher(backbone)
    tokens, operators = solved(one, levels, (1, 5), condition, seed=4)
    for i, (ridge, cut) in enumerate(zip(levels, cuts(one.network).values(), strict=True)):
        for support, operator in zip(tokens, operators, strict=True):
            Q = support[i][: ridge.level.tokens]
            found = float(pack(Q.T @ Q).astype(np.float32) @ operator[cut])
            assert found == pytest.approx(ridge.distance(Q, support[i]), abs=4 * EPSILON * np.sum(Q**2))


SPECTRA = {
    "geometric": lambda condition, d: np.geomspace(1, condition, d),
    "one large": lambda condition, d: np.r_[np.ones(d - 1), condition],
    "half and half": lambda condition, d: np.repeat([1, condition], [d // 2, d - d // 2]),
    "one small": lambda condition, d: np.r_[1, np.full(d - 1, condition)],
}


def gram_of(
    spectrum: str, condition: float, ridge: Ridge, rng: np.random.Generator, shots: int
) -> np.ndarray:
    """A Gram matrix such that the eigenvalues of S'S + lambda I are lambda times the spectrum."""
    d, lam = ridge.level.channels, ridge.regularisation(shots)
    basis = np.linalg.qr(rng.standard_normal((d, d)))[0]
    gram = (basis * (lam * (SPECTRA[spectrum](condition, d) - 1))) @ basis.T
    return (gram + gram.T) / 2


SOLVES = [
    pytest.param(
        backbone,
        spectrum,
        condition,
        marks=[
            *([pytest.mark.slow] if backbone == "resnet12" else []),
            *(
                [
                    pytest.mark.xfail(
                        strict=True,
                        raises=EnrollmentError,
                        reason="rounding alone leaves 640 x 640 a residual above UNCONVERGED, near 0.03",
                    )
                ]
                if (backbone, spectrum, condition) == ("resnet12", "half and half", 1e5)
                else []
            ),
        ],
    )
    for backbone in ("efficientnet-lite0", "resnet12")  # rho of the trained Conv-4 is above 1
    for spectrum in SPECTRA
    for condition in (10, 1e2, 1e3, 1e4, 1e5)
]


@pytest.mark.parametrize(("backbone", "spectrum", "condition"), SOLVES)
def test_h_is_right_to_8_k_half_units_in_the_last_place(matcher, ridges, backbone, spectrum, condition):
    # The operator shows W W' alone. W = I - rho H is symmetric and, for rho <= 1, positive definite, so
    # that its root is the principal one: eigenvalues' roots, those below zero by rounding cut off at zero.
    # An error E of the product becomes |E| / (w_i + w_j) <= k |E| / 2 in the root, in the basis of its
    # eigenvectors: the bound, which grows with k as well, is tested more strictly than it says.
    one, rng, shots = matcher(backbone), np.random.default_rng(int(condition)), (1, 3)
    levels = ridges(backbone)
    grams = [[gram_of(spectrum, condition, r, rng, s) for r in levels] for s in shots]
    packed = np.stack([np.concatenate([pack(gram) for gram in parts]) for parts in grams])
    operators = one.solve(packed, np.array(shots, np.float32), ["a", "b"])
    for i, (ridge, cut) in enumerate(zip(levels, cuts(one.network).values(), strict=True)):
        identity, rho = np.eye(ridge.level.channels), np.exp(ridge.beta)
        assert rho <= 1, "the root would not be the principal one"
        for count, parts, operator in zip(shots, grams, operators, strict=True):
            H = np.linalg.solve(parts[i] + ridge.regularisation(count) * identity, parts[i])
            values, vectors = np.linalg.eigh(unpack_operator(operator[cut], ridge.level.channels))
            W = (vectors * np.sqrt(values.clip(0))) @ vectors.T
            error = np.linalg.norm((identity - W) / rho - H)
            assert error <= 8 * condition * EPSILON * np.linalg.norm(H)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_residual_of_the_solve_is_reported(matcher, ridges, backbone):
    rng, levels, found = np.random.default_rng(0), ridges(backbone), []
    for condition in (10, 1e3, 1e5):
        one = matcher(backbone)
        assert one.residual == 0
        gram = np.concatenate([pack(gram_of("geometric", condition, r, rng, 1)) for r in levels])
        inputs = {"gram": gram[None].astype(np.float32), "shots": np.ones(1, np.float32)}
        residual = one.backend.run("solve", inputs)["residual"]
        assert residual.shape == (1,)
        one.solve(gram[None], np.ones(1, np.float32), ["a"])
        assert one.residual == residual[0]
        found.append(one.residual)
    assert 0 < found[0] < found[1] < found[2] <= MAX_RESIDUAL
    assert found[0] < 1e-5


def test_the_residual_of_a_class_is_the_larger_of_its_levels(matcher, ridges):
    one, rng, levels = matcher(), np.random.default_rng(0), ridges("conv4")
    easy, hard = ([gram_of("geometric", k, r, rng, 1) for r in levels] for k in (10, 1e5))
    mixed = [[hard[0], easy[1]], [easy[0], hard[1]], easy, hard]
    gram = np.stack([np.concatenate([pack(g) for g in parts]) for parts in mixed]).astype(np.float32)
    first, second, low, high = one.backend.run("solve", {"gram": gram, "shots": np.ones(4, np.float32)})[
        "residual"
    ]
    assert high == pytest.approx(max(first, second), rel=1e-3)
    assert min(first, second) > 10 * low


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("condition", [1e8, 1e10])
def test_a_solve_that_does_not_converge_is_refused_and_the_species_named(
    matcher, ridges, spectrum, condition
):
    one, rng, levels = matcher(), np.random.default_rng(0), ridges("conv4")
    rows = [
        np.concatenate([pack(gram_of(spectrum, k, r, rng, 1)) for r in levels]) for k in (10, condition, 10)
    ]
    with pytest.raises(
        EnrollmentError, match=r"^'bad' cannot be enrolled: its ridge solve did not converge"
    ) as caught:
        one.solve(np.stack(rows), np.ones(3, np.float32), ["good", "bad", "fine"])
    assert "at most 0.02" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert one.solve(np.stack(rows)[::2], np.ones(2, np.float32), ["good", "fine"]).shape == (2, 4160)


@pytest.mark.parametrize("level", [0, 1])
def test_a_solve_that_does_not_converge_at_one_level_is_refused(matcher, ridges, level):
    one, rng, levels = matcher(), np.random.default_rng(0), ridges("conv4")
    conditions = [1e8 if i == level else 10 for i in range(2)]
    row = np.concatenate(
        [pack(gram_of("geometric", k, r, rng, 1)) for k, r in zip(conditions, levels, strict=True)]
    )
    with pytest.raises(EnrollmentError, match="'moth' cannot be enrolled: its ridge solve did not converge"):
        one.solve(row[None], np.ones(1, np.float32), ["moth"])


@pytest.mark.parametrize("size", [1e12, 1e20, 1e30, 1e36])
def test_huge_statistics_are_refused_and_the_species_named(matcher, size):
    one = matcher()
    S = np.random.default_rng(0).standard_normal((25, 64))
    row = np.tile(pack(S.T @ S), 2) * size
    with pytest.raises(
        EnrollmentError, match=r"^'moth' cannot be enrolled: its ridge solve did not converge"
    ):
        one.solve(row[None], np.ones(1, np.float32), ["moth"])


def test_statistics_that_are_not_symmetric_positive_are_refused(matcher):
    # No photos give such a sum; a gallery made by hand could.
    with pytest.raises(EnrollmentError, match="'moth' cannot be enrolled: its ridge solve did not converge"):
        matcher().solve(-1e4 * np.tile(pack(np.eye(64)), 2)[None], np.ones(1, np.float32), ["moth"])


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_statistics_that_are_not_finite_are_refused_before_they_are_solved(backends, value):
    network, backend = backends("conv4", "ridge")
    counting = Counting(backend)
    gram = np.ones((2, network.packed))
    gram[1, 77] = value
    with pytest.raises(EnrollmentError, match=r"^'bad' cannot be enrolled: its Gram matrix is not finite$"):
        RidgeMatcher(network, counting, "fp32").solve(gram, np.ones(2, np.float32), ["good", "bad"])
    assert counting.solved == []


@pytest.mark.parametrize(("scale", "shots"), [(0, 1), (1, 0), (0, 0), (1, -1)])
def test_an_empty_sum_is_refused_before_it_is_solved(backends, scale, shots):
    network, backend = backends("conv4", "ridge")
    counting = Counting(backend)
    gram = np.ones((2, network.packed))
    gram[1] *= scale
    with pytest.raises(
        EnrollmentError,
        match=r"^'bad' cannot be enrolled: its Gram matrix is empty; give at least one photo$",
    ):
        RidgeMatcher(network, counting, "fp32").solve(gram, np.array([1, shots], np.float32), ["good", "bad"])
    assert counting.solved == []


@pytest.mark.parametrize("name", ["residual", "operator"])
def test_a_solve_that_gives_what_is_no_number_is_refused(backends, photos, name):
    network, backend = backends("conv4", "ridge")

    def spoil(graph: str, outputs: dict[str, Any]) -> dict[str, Any]:
        return {**outputs, name: np.full_like(outputs[name], np.nan)} if graph == "solve" else outputs

    one = RidgeMatcher(network, Counting(backend, spoil), "fp32")
    with pytest.raises(EnrollmentError, match="species 0"):
        one.class_operands(classes_of(photos("ridge"), [0]))


# --- Ridge: classes ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made_up(backends):
    """Statistics of 8 made-up photos of conv4's shape."""
    network, _ = backends("conv4", "ridge")
    rng = np.random.default_rng(0)

    def packed() -> np.ndarray:
        tokens = [rng.standard_normal((v.tokens, v.channels)) for v in network.levels]
        return np.concatenate([pack(S.T @ S) for S in tokens]).astype(np.float32)

    return [
        PhotoStatistics(
            hashlib.sha256(bytes([i])).hexdigest(), "fp32", {"support": packed(), "query": packed()}
        )
        for i in range(8)
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(
    order=st.permutations(range(8)),
    device=st.lists(st.sampled_from([1, 2, 3]), min_size=8, max_size=8),
    first=st.booleans(),
)
def test_photos_in_any_order_give_the_same_operators_bit_for_bit(matcher, made_up, order, device, first):
    def label(photo: int) -> str:
        return "moth" if photo % 3 else "ant"

    expected = Gallery(matcher().network)
    for i in range(8):
        expected.add(label(i), [made_up[i]])
    ours, theirs = Gallery(expected.network), Gallery(expected.network)
    for i in order:
        # 3: known to both.
        for bit, gallery in ((1, ours), (2, theirs)):
            if device[i] & bit:
                gallery.add(label(i), [made_up[i]])
    merged, other = (ours, theirs) if first else (theirs, ours)
    merged.merge(other)
    found, wanted = (
        matcher().class_operands(list(g.species.values()))["operator"] for g in (merged, expected)
    )
    assert list(merged) == ["ant", "moth"]
    assert found.tobytes() == wanted.tobytes()


def test_forgetting_a_photo_restores_the_operator_bit_for_bit(matcher, made_up):
    one, never = Gallery(matcher().network), Gallery(matcher().network)
    one.add("moth", made_up[:4])
    same = matcher()
    same.class_operands(list(one.species.values()))
    one.forget("moth", made_up[2].digest)
    never.add("moth", [made_up[0], made_up[1], made_up[3]])
    found = same.class_operands(list(one.species.values()))["operator"]
    assert found.tobytes() == matcher().class_operands(list(never.species.values()))["operator"].tobytes()


def test_an_operator_does_not_depend_on_the_classes_beside_it(matcher, made_up):
    rows = [[0], [1, 2, 3, 4, 5], [6, 7]]
    together = matcher().class_operands(classes_of(made_up, *rows))["operator"]
    for row, operator in zip(rows, together, strict=True):
        alone = matcher().class_operands(classes_of(made_up, row))["operator"][0]
        assert alone.tobytes() == operator.tobytes()


def test_only_classes_that_changed_are_solved(backends, made_up):
    network, backend = backends("conv4", "ridge")
    counting = Counting(backend)
    one = RidgeMatcher(network, counting, "fp32")
    first = one.class_operands(classes_of(made_up, [0], [1, 2], [3]))["operator"]
    assert counting.solved == [3]
    again = one.class_operands(classes_of(made_up, [3], [0], [2, 1], [4]))["operator"]
    assert counting.solved == [3, 1]
    assert again[:3].tobytes() == first[[2, 0, 1]].tobytes()
    one.class_operands(classes_of(made_up, [3], [0, 1]))
    assert counting.solved == [3, 1, 1]
    # Classes that were left out are no longer held.
    one.class_operands(classes_of(made_up, [1, 2]))
    assert counting.solved == [3, 1, 1, 1]


def test_a_failed_solve_does_not_make_the_others_be_solved_again(backends, made_up):
    network, backend = backends("conv4", "ridge")
    counting = Counting(backend)
    one = RidgeMatcher(network, counting, "fp32")
    good = classes_of(made_up, [0], [1])
    one.class_operands(good)
    empty = PhotoStatistics("0" * 64, "fp32", {name: a * 0 for name, a in made_up[0].arrays.items()})
    with pytest.raises(EnrollmentError, match="'none' cannot be enrolled: its Gram matrix is empty"):
        one.class_operands([*good, extend_species(None, "none", [empty])])
    one.class_operands(good)
    assert counting.solved == [2]


def test_many_classes_are_solved_in_parts_and_come_back_in_their_order(backends, made_up, monkeypatch):
    network, backend = backends("conv4", "ridge")
    species = classes_of(made_up, *([i] for i in range(8)))
    expected = RidgeMatcher(network, backend, "fp32").class_operands(species)["operator"]
    monkeypatch.setattr("hmdrn_runtime.matching.ridge.SOLVE_BATCH", 3)
    counting = Counting(backend)
    found = RidgeMatcher(network, counting, "fp32").class_operands(species)["operator"]
    assert counting.solved == [3, 3, 2]
    np.testing.assert_array_equal(found, expected)


def test_a_photo_whose_statistics_were_exchanged_is_solved_again(matcher, made_up):
    # As a merge does that finds the photo on both devices, with other rounding.
    one = matcher()
    theirs = PhotoStatistics(made_up[0].digest, "fp32", made_up[1].arrays)
    one.class_operands([extend_species(None, "moth", [made_up[0]])])
    species = [extend_species(None, "moth", [theirs])]
    np.testing.assert_array_equal(
        one.class_operands(species)["operator"], matcher().class_operands(species)["operator"]
    )


# --- Both heads: photos -----------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["ridge", "attention"])
def test_photos_become_statistics_under_their_own_digest(matcher, photos, pixels, head):
    network = matcher("conv4", head).network
    assert [p.digest for p in photos(head)] == [hash_pixels(image) for image in pixels]
    assert {p.variant for p in photos(head)} == {"fp32"}
    sizes = {v.name: (v.tokens, v.channels) for v in network.levels}
    shapes = (
        {"support": (4160,), "query": (4160,)}
        if head == "ridge"
        else {f"{kind}_{name}": size for name, size in sizes.items() for kind in "kv"}
    )
    for photo in photos(head):
        assert {name: (a.dtype, a.shape) for name, a in photo.arrays.items()} == {
            name: (np.float32, shape) for name, shape in shapes.items()
        }
        # Of its own: a view would keep the whole batch alive in a gallery.
        assert all(array.base is None for array in photo.arrays.values())


def test_statistics_of_two_photos_and_of_two_branches_differ(photos):
    arrays = [p.arrays[name].tobytes() for p in photos("ridge") for name in ("support", "query")]
    assert len(set(arrays)) == len(arrays)


@pytest.mark.parametrize("head", ["ridge", "attention"])
def test_a_network_that_gives_what_is_no_number_is_refused(backends, pixels, head):
    network, backend = backends("conv4", head)

    def spoil(graph: str, outputs: dict[str, Any]) -> dict[str, Any]:
        last = [*outputs][-1]
        spoilt = outputs[last].copy()
        spoilt.flat[-1] = np.inf
        return {**outputs, last: spoilt}

    one = open_matcher(network, Counting(backend, spoil), "fp32")
    with pytest.raises(EnrollmentError, match=r"values that are not finite in '.*': the bundle is unusable"):
        one.compute_statistics(pixels[:2])


def test_matching_outside_the_graph_gives_what_the_graph_gives(matcher, photos, pixels):
    one = matcher()
    operands = one.class_operands(classes_of(photos("ridge"), [0], [5, 6, 7, 8, 9], [10, 11, 12]))
    inside = one.classify(pixels, one.place(operands))
    outside = one.match(photos("ridge"), operands["operator"])
    assert outside.logits.dtype == np.float32
    assert inside.logits.shape == outside.logits.shape == (15, 3)
    np.testing.assert_allclose(outside.logits, inside.logits, rtol=1e-5)
    for name, distances in inside.distances.items():
        np.testing.assert_allclose(outside.distances[name], distances, rtol=1e-5)
    assert set(outside.distances) == {"high", "mid"}


def test_distances_that_rounding_makes_negative_are_zero(matcher, photos, pixels):
    # Far more than rounding: an operator with nothing but negative eigenvalues at one level.
    one = matcher()
    operator = one.class_operands(classes_of(photos("ridge"), [0]))["operator"].copy()
    operator[:, cuts(one.network)["high"]] *= -1
    inside, outside = (
        one.classify(pixels, one.place({"operator": operator})),
        one.match(photos("ridge"), operator),
    )
    for scores in (inside, outside):
        assert not scores.distances["high"].any()
        assert (scores.distances["mid"] > 0).all()
    np.testing.assert_allclose(outside.logits, inside.logits, rtol=1e-5)


@pytest.mark.slow
def test_matching_tokens_outside_the_graph_gives_what_the_graph_gives(matcher, pixels):
    one = matcher("resnet12")
    statistics = one.compute_statistics(pixels[:7])
    assert statistics[0].arrays["support"].shape == (25 * 640 + 100 * 320,)
    operands = one.class_operands(classes_of(statistics, [0], [1, 2, 3, 4, 5]))
    inside = one.classify(pixels[:7], one.place(operands))
    np.testing.assert_allclose(one.match(statistics, operands["operator"]).logits, inside.logits, rtol=1e-4)


def test_logits_are_the_fused_distances(matcher, photos, pixels, seeded_checkpoint):
    weights = load_file(seeded_checkpoint("conv4", "ridge"))
    one = matcher()
    scores = one.classify(pixels, one.place(one.class_operands(classes_of(photos("ridge"), [0, 1], [5]))))
    total = sum(
        float(weights[f"fusion.weight.{name}"]) * scores.distances[name].astype(np.float64)
        for name in ("high", "mid")
    )
    expected = -total * float(weights["fusion.scale"]) / (25 * 64)
    np.testing.assert_allclose(scores.logits, expected, rtol=1e-6)


def test_distances_of_photos_are_those_of_their_statistics_in_float64(matcher, photos, pixels, ridges):
    one = matcher()
    rows = [[0], [5, 6, 7, 8, 9]]
    scores = one.classify(pixels, one.place(one.class_operands(classes_of(photos("ridge"), *rows))))
    grams = {
        kind: [packed_gram(one.network, p.arrays[kind]) for p in photos("ridge")]
        for kind in ("support", "query")
    }
    for ridge, (name, cut) in zip(ridges("conv4"), cuts(one.network).items(), strict=True):
        d = ridge.level.channels
        for column, row in enumerate(rows):
            total = sum(grams["support"][r] for r in row)[cut]
            gram = unpack_operator(total * np.where(np.equal(*np.triu_indices(d)), 1, 2), d)
            H = np.linalg.solve(gram + ridge.regularisation(len(row)) * np.eye(d), gram)
            W = np.eye(d) - np.exp(ridge.beta) * H
            doubled = pack(W @ W.T) * np.where(np.equal(*np.triu_indices(d)), 1, 2)
            expected = [query[cut] @ doubled for query in grams["query"]]
            np.testing.assert_allclose(scores.distances[name][:, column], expected, rtol=1e-4)


# --- Attention --------------------------------------------------------------------------------------------


def attention_in_float64(q: np.ndarray, v: np.ndarray, keys: np.ndarray, values: np.ndarray) -> float:
    scores = q @ keys.T / np.sqrt(q.shape[1])
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    reconstructed = shares / shares.sum(axis=1, keepdims=True) @ values
    return float(np.sum((v - reconstructed) ** 2))


def test_attention_gives_what_its_formula_gives_in_float64(
    matcher, photos, pixels, backends, seeded_checkpoint
):
    one = matcher("conv4", "attention")
    _, backend = backends("conv4", "attention")
    weights = load_file(seeded_checkpoint("conv4", "attention"))
    rows = [[0], [5, 6, 7, 8, 9], [10, 11]]
    queries = pixels[::3]
    scores = one.classify(queries, one.place(one.class_operands(classes_of(photos("attention"), *rows))))
    seen = backend.run("explain", {"images": queries})
    for level in one.network.levels:
        projection = weights[f"heads.{level.name}.qkv.weight"].astype(np.float64)
        assert projection.shape == (3 * level.channels, level.channels)
        q, _, v = np.split(seen[f"query_tokens_{level.name}"].astype(np.float64) @ projection.T, 3, axis=-1)
        keys, values = (
            [
                np.concatenate([photos("attention")[r].arrays[f"{kind}_{level.name}"] for r in row])
                for row in rows
            ]
            for kind in "kv"
        )
        expected = [
            [
                attention_in_float64(q[b], v[b], keys[c].astype(np.float64), values[c].astype(np.float64))
                for c in range(len(rows))
            ]
            for b in range(len(queries))
        ]
        np.testing.assert_allclose(scores.distances[level.name], expected, rtol=1e-5)


def test_padding_changes_nothing(matcher, photos, pixels):
    one = matcher("conv4", "attention")
    rows = [[0], [5, 6, 7, 8, 9], [10, 11, 12]]
    together = one.classify(pixels, one.place(one.class_operands(classes_of(photos("attention"), *rows))))
    for column, row in enumerate(rows):
        operands = one.class_operands(classes_of(photos("attention"), row))
        assert all(operands[f"valid_{level.name}"].all() for level in one.network.levels)
        alone = one.classify(pixels, one.place(operands))
        for name, distances in alone.distances.items():
            np.testing.assert_allclose(together.distances[name][:, [column]], distances, rtol=1e-6)
        np.testing.assert_allclose(together.logits[:, [column]], alone.logits, rtol=1e-6)


@pytest.mark.parametrize("filling", [0.0, 1e30, -1e30])
def test_what_lies_in_the_padding_does_not_matter_to_the_last_bit(matcher, photos, pixels, filling):
    one = matcher("conv4", "attention")
    operands = one.class_operands(classes_of(photos("attention"), [0], [5, 6, 7, 8, 9]))
    expected = one.classify(pixels[:4], one.place(operands))
    for level in one.network.levels:
        assert not operands[f"valid_{level.name}"].all()
        for kind in "kv":
            operands[f"{kind}_{level.name}"][~operands[f"valid_{level.name}"]] = filling
    found = one.classify(pixels[:4], one.place(operands))
    np.testing.assert_array_equal(found.logits, expected.logits)


def test_attention_classes_are_padded_and_ordered_by_digest(matcher, photos):
    one = matcher("conv4", "attention")
    digests = [p.digest for p in photos("attention")]
    rows = [sorted(row, key=lambda r: digests[r], reverse=True) for row in ([0, 1], [5, 6, 7])]
    operands = one.class_operands(classes_of(photos("attention"), *rows))
    for level in one.network.levels:
        valid = operands[f"valid_{level.name}"]
        assert valid.dtype == np.bool_
        assert valid.shape == (2, 3 * level.tokens)
        assert valid.sum(axis=1).tolist() == [2 * level.tokens, 3 * level.tokens]
        assert valid[0, : 2 * level.tokens].all()
        for kind in "kv":
            name = f"{kind}_{level.name}"
            assert operands[name].shape == (2, 3 * level.tokens, level.channels)
            for row, padded in zip(rows, operands[name], strict=True):
                by_digest = sorted((photos("attention")[r] for r in row), key=lambda p: p.digest)
                expected = np.concatenate([p.arrays[name] for p in by_digest])
                np.testing.assert_array_equal(padded[: len(expected)], expected)
                assert not padded[len(expected) :].any()


def test_operands_of_the_other_head_are_refused(matcher, photos, pixels):
    ridge, attention = matcher("conv4", "ridge"), matcher("conv4", "attention")
    operands = ridge.place(ridge.class_operands(classes_of(photos("ridge"), [0])))
    with pytest.raises(BackendError, match="could not run graph 'classify'"):
        attention.classify(pixels[:1], operands)
