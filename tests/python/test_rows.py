"""Rows that are means over centers: of species and of groups; and centers that are points in space."""

import numpy as np
import pytest
from ase import Atoms
from checks import assert_close, same_bits
from named_structures import several_frames

import castile
from castile.descriptors import DESCRIPTORS

OPTIONS = {"cutoff": 3.0, "n_max": 3, "sigma": 0.5}


@pytest.fixture(scope="module")
def frames():
    return several_frames()


def local_rows(cls, frames, **options):
    return cls(**OPTIONS, **options).fit(frames).transform(frames)


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_outer_per_species_is_the_mean_of_the_rows_of_each_species(cls, frames):
    local = cls(**OPTIONS).fit(frames)
    X, own = local.transform(frames), local.samples(frames)
    descriptor = cls(**OPTIONS, average="outer_per_species").fit(frames)
    samples = descriptor.samples(frames)
    expected = [(f, s) for f, atoms in enumerate(frames) for s in sorted(set(atoms.symbols), key=symbol_number)]
    assert [(sample["frame"], sample["species"]) for sample in samples] == expected
    assert set(samples["atom"]) == {-1}
    means = [X[(own["frame"] == f) & (own["species"] == s)].mean(axis=0) for f, s in expected]
    assert_close(descriptor.transform(frames), np.array(means), 1e-13)


def symbol_number(symbol):
    return Atoms(symbol).numbers[0]


def test_inner_per_species_is_the_power_spectrum_of_mean_coefficients(frames):
    options = {**OPTIONS, "l_max": 2, "species": sorted({s for atoms in frames for s in atoms.symbols})}
    c = castile.SphericalExpansion(**options, average="outer_per_species").transform(frames)
    p = castile.SOAP(**options, average="inner_per_species").transform(frames)
    n_species = len(options["species"])
    c = c.reshape(len(c), n_species, 3, 9)
    row = []
    for a in range(n_species):
        for b in range(a, n_species):
            for degree in range(3):
                own = slice(degree**2, (degree + 1) ** 2)
                block = np.einsum("rnm,rkm->rnk", c[:, a, :, own], c[:, b, :, own]) / np.sqrt(2 * degree + 1)
                for n in range(3):
                    for k in range(n if a == b else 0, 3):
                        row.append(block[:, n, k] * (1.0 if a == b and n == k else np.sqrt(2)))
    assert_close(p, np.array(row).T, 1e-12)


@pytest.mark.parametrize("average", ["inner", "outer"])
def test_groups_average_over_their_centers_in_the_order_of_labels(average, frames):
    descriptor = castile.SOAP(**OPTIONS, l_max=2, average=average).fit(frames)
    groups = [np.array([5, 2, 5, 9])[np.arange(len(atoms)) % 4] for atoms in frames]
    X = descriptor.transform(frames, groups=groups)
    samples = descriptor.samples(frames, groups=groups)
    expected = [(f, label) for f, labels in enumerate(groups) for label in np.unique(labels)]
    assert [(sample["frame"], sample["group"]) for sample in samples] == expected
    for row, (f, label) in zip(X, expected, strict=True):
        alone = descriptor.transform(frames[f], centers=np.flatnonzero(groups[f] == label))
        assert_close(row, alone[0], 1e-13)


def test_one_group_per_frame_is_the_average_of_the_frame(frames):
    descriptor = castile.SOAP(**OPTIONS, l_max=2, average="outer").fit(frames)
    groups = [np.zeros(len(atoms), int) for atoms in frames]
    filled = [len(atoms) > 0 for atoms in frames]  # without centers there is no group
    assert same_bits(descriptor.transform(frames, groups=groups), descriptor.transform(frames)[filled])


@pytest.mark.parametrize(
    ("average", "groups", "message"),
    [
        ("off", [[0, 0]], "average='inner' or 'outer'"),
        ("outer_per_species", [[0, 0]], "both say"),
        ("outer", [[0, 0], [0]], r"one entry per frame \(1\)"),
        ("outer", [[0]], r"groups\[0\] must hold 2 labels"),
        ("outer", [[0.5, 1.0]], "integer labels"),
        ("outer", [[-1, 0]], "0 or more"),
        ("outer", 3, "sequence"),
    ],
)
def test_groups_that_cannot_be_are_refused(average, groups, message):
    frames = [Atoms("H2", [[0, 0, 0], [0, 0, 0.8]])]
    with pytest.raises(castile.CastileError, match=message):
        castile.SOAP(**OPTIONS, average=average).fit(frames).transform(frames, groups=groups)


# ---- points


def points_like_atoms(frames):
    return [atoms.positions.copy() for atoms in frames]


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_a_point_on_an_atom_sees_it_as_a_neighbor(cls, frames):
    """With center_weight=1, the atom's own density is what the point sees of it."""
    descriptor = cls(**OPTIONS, center_weight=1.0).fit(frames)
    X = descriptor.transform(frames, centers=points_like_atoms(frames))
    assert_close(X, descriptor.transform(frames), 1e-12)


def test_points_move_with_the_cell_and_not_with_its_images(frames):
    descriptor = castile.SOAP(**OPTIONS, l_max=2).fit(frames)
    rng = np.random.default_rng(1)
    points = [rng.uniform(-4, 8, (5, 3)) for _ in frames]
    X = descriptor.transform(frames, centers=points)
    shifted = [
        p + rng.integers(-3, 4, (5, 3)) * atoms.pbc @ atoms.cell.array for p, atoms in zip(points, frames, strict=True)
    ]
    assert_close(descriptor.transform(frames, centers=shifted), X, 1e-10)


def test_points_far_from_a_molecule_see_nothing():
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.8]])
    X = castile.SOAP(**OPTIONS).fit(atoms).transform(atoms, centers=[[0, 0, 50.0], [1e6, 0, 0]])
    assert X.shape[0] == 2
    assert not X.any()


def test_samples_of_points_have_neither_atom_nor_species(frames):
    descriptor = castile.SOAP(**OPTIONS).fit(frames)
    centers = [[0], *[np.zeros((2, 3)) for _ in frames[1:]]]
    samples = descriptor.samples(frames, centers)
    assert samples["atom"].tolist() == [0] + [-1] * (2 * len(frames) - 2)
    assert samples["species"].tolist()[1:] == [""] * (2 * len(frames) - 2)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("average", ["off", "inner", "outer"])
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_gradients_of_points_agree_with_central_differences(cls, average, normalize, frames):
    rng = np.random.default_rng(2)
    centers = [rng.uniform(0, 3, (3, 3)) for _ in frames]
    centers[0] = np.arange(len(frames[0]))
    groups = None if average == "off" else [np.arange(len(own)) % 2 for own in centers]
    descriptor = cls(**OPTIONS, average=average, normalize=normalize, accuracy=1e-10).fit(frames)
    n_centers = sum(map(len, centers))
    velocity = rng.normal(size=(n_centers, 3))
    offsets = np.cumsum([0, *map(len, centers)])

    def moved(step):
        return [
            own if np.ndim(own) == 1 else own + step * velocity[first : first + len(own)]
            for own, first in zip(centers, offsets, strict=False)
        ]

    def X(step):
        return descriptor.transform(frames, moved(step), groups=groups)

    h = 2e-5
    expected = (8 * (X(h) - X(-h)) - (X(2 * h) - X(-2 * h))) / (12 * h)
    tangent = descriptor.jvp(frames, centers=centers, points=velocity, groups=groups)
    assert_close(tangent, expected, 1e-7)

    cotangent = rng.normal(size=tangent.shape)
    gradients = descriptor.vjp(frames, cotangent, centers, groups=groups)
    assert gradients.centers.shape == (n_centers, 3)
    assert not gradients.centers[: len(centers[0])].any()
    assert np.sum(gradients.centers * velocity) == pytest.approx(np.sum(cotangent * tangent), rel=1e-10)

    J = descriptor.jacobian(frames, centers, groups=groups)
    product = np.zeros_like(tangent)
    (block,) = J.center_groups
    moving = velocity[offsets[block.frame] + block.atom]
    np.add.at(product, block.row, np.einsum("bxk,bx->bk", block.values, moving))
    assert_close(product, tangent, 1e-11)
    assert_close(np.einsum("rk,raxk->ax", cotangent, J.to_dense()), gradients.positions, 1e-10, floor=1e-10)


@pytest.mark.parametrize(
    ("centers", "message"),
    [
        ([[0.0, np.nan, 0.0]], "finite"),
        ([[0.0, 1.0]], r"points of shape \(n, 3\)"),
        ([0.5, 1.5], r"points of shape \(n, 3\)"),
    ],
)
def test_points_that_cannot_be_are_refused(centers, message):
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.8]])
    with pytest.raises(castile.CastileError, match=message):
        castile.SOAP(**OPTIONS).fit(atoms).transform(atoms, centers=centers)


def test_points_have_no_species_to_average_over():
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.8]])
    with pytest.raises(castile.InputError, match="no species"):
        castile.SOAP(**OPTIONS, average="outer_per_species").fit(atoms).transform(atoms, centers=[[0.0, 0.0, 1.0]])
