"""What the descriptors return: the power spectrum from the coefficients, names, averages, CSR rows, Jacobian blocks."""

import numpy as np
import pytest
import scipy.sparse as sp
from ase import Atoms
from ase.build import bulk
from checks import assert_close, max_abs
from named_structures import STRUCTURES, several_frames
from references import density_expansion as reference

import castile
from castile.descriptors import DESCRIPTORS

AVERAGES = ["off", "inner", "outer"]


def sizes_of(cls, **options):
    sizes = {"cutoff": 3.4, "n_max": 3, "l_max": 2, "sigma": 0.5, **options}
    return {name: value for name, value in sizes.items() if name in cls._get_param_names()}


def coefficients(frames, species, **options):
    expansion = castile.SphericalExpansion(**sizes_of(castile.SphericalExpansion, **options), species=species)
    return expansion.transform(frames).reshape(-1, len(species), expansion.n_max, (expansion.l_max + 1) ** 2)


@pytest.mark.parametrize("sizes", [(3, 2), (1, 0), (5, 4), (9, 1)], ids=str)
def test_power_spectrum_is_the_product_of_coefficients(structure, sizes):
    n_max, l_max = sizes
    soap = castile.SOAP(**sizes_of(castile.SOAP, n_max=n_max, l_max=l_max)).fit(structure)
    c = coefficients(structure, soap.species_, n_max=n_max, l_max=l_max)
    expected = np.array([reference.power_spectrum(row, l_max) for row in c])
    assert_close(soap.transform(structure), expected, 1e-13)


def test_absent_species_leave_zeros_in_their_columns(molecule):
    species = ["He", "H", "Cl", "C", "O"]
    soap = castile.SOAP(**sizes_of(castile.SOAP), species=species)
    c = coefficients(molecule, ["H", "He", "C", "O", "Cl"])
    expected = np.array([reference.power_spectrum(row, 2) for row in c])
    X = soap.transform(molecule)
    assert_close(X, expected, 1e-13)
    absent = [("He" in name or "Cl" in name) for name in soap.get_feature_names_out()]
    assert not X[:, absent].any()


def test_dot_products_are_those_of_the_full_tensor(structure):
    soap = castile.SOAP(**sizes_of(castile.SOAP)).fit(structure)
    X = soap.transform(structure)
    full = [reference.full_power_spectrum(c, 2).ravel() for c in coefficients(structure, soap.species_)]
    assert_close(X @ X.T, np.array(full) @ np.array(full).T, 1e-13)


def test_power_spectrum_columns_are_in_the_documented_order():
    names = castile.SOAP(n_max=2, l_max=1, species=["O", "H"]).get_feature_names_out()
    same = ["l0_n0_n0", "l0_n0_n1", "l0_n1_n1", "l1_n0_n0", "l1_n0_n1", "l1_n1_n1"]
    other = [f"l{degree}_n{n}_n{k}" for degree in range(2) for n in range(2) for k in range(2)]
    expected = [f"H-H_{x}" for x in same] + [f"H-O_{x}" for x in other] + [f"O-O_{x}" for x in same]
    assert list(names) == expected


@pytest.mark.parametrize("l_max", [0, 3])
def test_radial_spectrum_is_the_l_0_part_of_the_coefficients(structure, l_max):
    spectrum = castile.RadialSpectrum(**sizes_of(castile.RadialSpectrum)).fit(structure)
    c = coefficients(structure, spectrum.species_, l_max=l_max)[..., 0]
    # A table for more degrees has other knots, so that only its accuracy is common.
    assert_close(spectrum.transform(structure), c.reshape(len(c), -1), 1e-14 if l_max == 0 else 1e-7)


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_feature_names_are_unique_and_one_per_column(cls, frames):
    descriptor = cls(**sizes_of(cls)).fit(frames)
    names = descriptor.get_feature_names_out()
    assert names.dtype == object
    assert len(set(names)) == len(names) == descriptor.transform(frames).shape[1]
    assert all(isinstance(name, str) for name in names)


@pytest.mark.parametrize("normalize", [False, True])
def test_averages_are_those_of_coefficients_and_rows(frames, normalize):
    def make(average, cls=castile.SOAP, normalize=False):
        return cls(**sizes_of(cls), average=average, normalize=normalize).fit(frames)

    local = make("off")
    X, frame = local.transform(frames), local.samples(frames)["frame"]
    expansion = make("off", castile.SphericalExpansion)
    c = expansion.transform(frames).reshape(len(X), -1, 3, 9)
    outer = np.zeros((len(frames), X.shape[1]))
    inner = np.zeros_like(outer)
    for k in np.unique(frame):
        outer[k] = X[frame == k].mean(axis=0)
        inner[k] = reference.power_spectrum(c[frame == k].mean(axis=0), 2)
    if normalize:
        outer /= np.maximum(np.linalg.norm(outer, axis=1, keepdims=True), 1e-300)
        inner /= np.maximum(np.linalg.norm(inner, axis=1, keepdims=True), 1e-300)
    assert_close(make("outer", normalize=normalize).transform(frames), outer, 1e-13)
    assert_close(make("inner", normalize=normalize).transform(frames), inner, 1e-13)


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_a_linear_descriptor_has_equal_inner_and_outer_averages(cls, frames):
    if cls in (castile.SOAP, castile.Products, castile.Bispectrum):
        pytest.skip("products are not linear")
    rows = [cls(**sizes_of(cls), average=average).fit_transform(frames) for average in ("inner", "outer")]
    assert_close(rows[0], rows[1], 1e-13)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_normalized_rows_have_norm_one_and_zero_rows_stay_zero(cls, average, frames):
    options = {**sizes_of(cls), "average": average, "center_weight": 0.0}
    X = cls(**options).fit_transform(frames)
    N = cls(**options, normalize=True).fit_transform(frames)
    norms = np.linalg.norm(X, axis=1)
    zero = norms == 0.0
    assert zero.any()
    assert not N[zero].any()
    np.testing.assert_allclose(np.linalg.norm(N[~zero], axis=1), 1.0, rtol=1e-14)
    assert_close(N[~zero], X[~zero] / norms[~zero, None], 1e-14)


# ---------------------------------------------------------------- sparse rows


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_sparse_rows_equal_dense_ones_and_hold_no_column_of_absent_species(cls, average, normalize, frames):
    options = {**sizes_of(cls), "average": average, "normalize": normalize, "center_weight": 0.0}
    dense = cls(**options).fit(frames)
    S = cls(**options, sparse=True).fit(frames).transform(frames)
    assert isinstance(S, sp.csr_array)
    assert S.has_sorted_indices
    assert S.has_canonical_format
    assert np.array_equal(S.toarray(), dense.transform(frames))
    names = dense.get_feature_names_out()
    for row, sample in enumerate(dense.samples(frames)):
        present = set(frames[sample["frame"]].get_chemical_symbols())
        stored = {symbol for name in names[S[[row]].indices] for symbol in name.split("_")[0].split("-")}
        assert stored <= present
    lone = np.flatnonzero(dense.samples(frames)["frame"] == 3)
    if average == "off":
        assert S[lone].nnz == 0  # nothing within reach, no term of its own
    assert S.nnz < 0.6 * np.prod(S.shape)


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_sparse_cotangents_equal_dense_ones(cls, frames):
    descriptor = cls(**sizes_of(cls), sparse=True).fit(frames)
    X = descriptor.transform(frames)
    expected = descriptor.vjp(frames, X.toarray())
    for cotangent in (X, X.tocoo().tocsr(), sp.csr_matrix(X)):
        g = descriptor.vjp(frames, cotangent)
        assert np.array_equal(g.positions, expected.positions)
        assert np.array_equal(g.strain, expected.strain)


# ---------------------------------------------------------------- Jacobian blocks


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_jacobian_blocks_are_consistent_and_complete(cls, average, frames):
    descriptor = cls(**sizes_of(cls), average=average).fit(frames)
    J = descriptor.jacobian(frames)
    X = descriptor.transform(frames)
    assert (J.n_rows, J.n_features) == X.shape
    assert J.strain.shape == (*X.shape[:1], 3, 3, X.shape[1])
    assert J.atom_offsets.tolist() == [0, *np.cumsum([len(atoms) for atoms in frames])]
    samples = descriptor.samples(frames)
    blocks = []
    total = np.zeros((J.n_rows, J.atom_offsets[-1], 3, J.n_features))
    for group in J.groups:
        assert group.values.shape == (len(group.row), 3, len(group.columns))
        assert len(group.row) > 0
        assert (np.diff(group.columns) > 0).all()
        assert group.row.dtype == group.frame.dtype == group.atom.dtype == group.columns.dtype == np.int64
        symbols = [frames[f].get_chemical_symbols()[a] for f, a in zip(group.frame, group.atom, strict=True)]
        assert set(symbols) == {group.species}
        assert np.array_equal(samples["frame"][group.row], group.frame)
        blocks += list(zip(group.row, group.frame, group.atom, strict=True))
        atom = J.atom_offsets[group.frame] + group.atom
        for values, row, k in zip(group.values, group.row, atom, strict=True):
            total[row, k][:, group.columns] += values
    assert len(set(blocks)) == len(blocks), "a row and an atom share more than one block"
    assert np.array_equal(J.to_dense(), total)
    assert J.nbytes == sum(group.values.nbytes for group in J.groups) + J.strain.nbytes


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_jacobian_stores_no_columns_that_a_neighbor_cannot_touch(cls):
    atoms = STRUCTURES["five_species"]()
    descriptor = cls(**sizes_of(cls)).fit(atoms)
    names = descriptor.get_feature_names_out()
    J = descriptor.jacobian(atoms)
    partial = [group for group in J.groups if len(group.columns) < J.n_features]
    assert partial
    for group in partial:
        assert all(group.species in name.split("_")[0].split("-") for name in names[group.columns])
    stored = sum(group.values.size for group in J.groups)
    assert stored < 0.75 * len(atoms) ** 2 * 3 * J.n_features


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_jacobian_without_strain_has_the_same_blocks(cls, frames):
    descriptor = cls(**sizes_of(cls)).fit(frames)
    with_strain, without = descriptor.jacobian(frames), descriptor.jacobian(frames, strain=False)
    assert without.strain is None
    for a, b in zip(with_strain.groups, without.groups, strict=True):
        assert np.array_equal(a.values, b.values)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("strain", [True, False])
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_memory_is_estimated_to_the_byte(cls, average, strain, dtype, frames):
    descriptor = cls(**sizes_of(cls), average=average, dtype=dtype).fit(frames)
    estimate = descriptor.estimate_memory(frames, strain=strain)
    J = descriptor.jacobian(frames, strain=strain)
    assert estimate.features == descriptor.transform(frames).nbytes
    assert estimate.jacobian == sum(group.values.nbytes for group in J.groups)
    assert estimate.strain == (J.strain.nbytes if strain else 0)
    assert estimate.jacobian + estimate.strain == J.nbytes
    some = [np.arange(len(atoms))[::2] for atoms in frames]
    estimate = descriptor.estimate_memory(frames, some)
    assert estimate.jacobian + estimate.strain == descriptor.jacobian(frames, some).nbytes


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_strain_moves_cell_and_positions_together(cls):
    """Scaling everything by 1 + t is the isotropic strain: dX/dt = trace of the strain gradient."""
    atoms = STRUCTURES["triclinic"]()
    descriptor = cls(**sizes_of(cls)).fit(atoms)
    t = descriptor.jvp(atoms, strain=np.eye(3)[None])
    J = descriptor.jacobian(atoms)
    assert_close(t, np.einsum("raaf->rf", J.strain), 1e-12)
    # Without periodic images a strain is a displacement of the atoms.
    molecule = STRUCTURES["molecule"]()
    descriptor = cls(**sizes_of(cls)).fit(molecule)
    rate = np.random.default_rng(0).normal(size=(3, 3))
    rate = rate + rate.T
    by_strain = descriptor.jvp(molecule, strain=rate[None])
    assert_close(by_strain, descriptor.jvp(molecule, positions=molecule.positions @ rate.T), 1e-12)


def test_only_the_symmetric_part_of_a_strain_rate_counts(tiny_cell):
    soap = castile.SOAP(**sizes_of(castile.SOAP)).fit(tiny_cell)
    rate = np.random.default_rng(0).normal(size=(1, 3, 3))
    whole, symmetric = (
        soap.jvp(tiny_cell, strain=rate),
        soap.jvp(tiny_cell, strain=(rate + rate.transpose(0, 2, 1)) / 2),
    )
    assert_close(whole, symmetric, 1e-13)


def test_tangents_that_are_left_out_are_zero(tiny_cell):
    soap = castile.SOAP(**sizes_of(castile.SOAP)).fit(tiny_cell)
    assert not soap.jvp(tiny_cell).any()
    velocities, rates = np.ones((2, 3)) * [[1.0], [2.0]], np.eye(3)[None]
    both = soap.jvp(tiny_cell, velocities, rates)
    assert_close(both, soap.jvp(tiny_cell, velocities) + soap.jvp(tiny_cell, strain=rates), 1e-13)


# ---------------------------------------------------------------- calls


def test_default_parameters_are_the_documented_ones():
    expected = {
        "cutoff": 5.0,
        "n_max": 8,
        "l_max": 6,
        "sigma": 0.4,
        "species": None,
        "radial_basis": "gto",
        "cutoff_function": "cosine",
        "cutoff_width": 0.5,
        "center_weight": 1.0,
        "average": "off",
        "normalize": False,
        "sparse": False,
        "dtype": "float64",
    }
    parameters = castile.SOAP().get_params()
    assert {name: parameters[name] for name in expected} == expected


def test_diamond_has_no_odd_neighbor_shell_in_an_even_environment():
    """Both atoms of diamond see the same environment; in fcc, with inversion, odd degrees vanish."""
    soap = castile.SOAP(cutoff=4.0, n_max=4, l_max=5, species=["C"])
    X = soap.transform(bulk("C", a=3.57))
    assert_close(X[0], X[1], 1e-12)
    X = soap.transform(bulk("C", "fcc", a=3.3))[0]
    degree = np.array([int(name.split("_")[1][1:]) for name in soap.get_feature_names_out()])
    assert max_abs(X[degree % 2 == 1]) < 1e-13 * max_abs(X)


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_single_frames_lists_tuples_and_generators_give_the_same_rows(cls):
    frames = several_frames()
    descriptor = cls(**sizes_of(cls)).fit(frames)
    X = descriptor.transform(frames)
    assert np.array_equal(descriptor.transform(tuple(frames)), X)
    assert np.array_equal(descriptor.transform(atoms for atoms in frames), X)
    assert np.array_equal(descriptor.fit_transform(iter(frames)), X)
    assert np.array_equal(descriptor.transform(frames[0]), descriptor.transform([frames[0]]))
    as_objects = np.empty(len(frames), dtype=object)
    as_objects[:] = frames
    assert np.array_equal(descriptor.transform(as_objects), X)


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_arguments_are_never_modified(cls, frames):
    descriptor = cls(**sizes_of(cls)).fit(frames)
    copies = [atoms.copy() for atoms in frames]
    X = descriptor.transform(frames)
    cotangent = X.copy()
    cotangent.setflags(write=False)
    velocities, rates = np.ones((sum(map(len, frames)), 3)), np.ones((len(frames), 3, 3))
    for array in (velocities, rates):
        array.setflags(write=False)
    g = descriptor.vjp(frames, cotangent)
    descriptor.jvp(frames, velocities, rates)
    J = descriptor.jacobian(frames)
    assert frames == copies
    for result in (X, g.positions, g.strain, J.strain, J.to_dense()):
        assert result.flags.writeable
        assert result.flags.c_contiguous


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_non_contiguous_and_other_dtypes_of_cotangents_are_handled(cls, frames):
    descriptor = cls(**sizes_of(cls)).fit(frames)
    X = descriptor.transform(frames)
    rounded = np.round(8 * X)
    expected = descriptor.vjp(frames, rounded)
    strided = np.repeat(rounded, 2, axis=1)[:, ::2]
    forms = [np.asfortranarray(rounded), strided, rounded.astype(np.float32), rounded.astype(int), rounded.tolist()]
    for cotangent in forms:
        g = descriptor.vjp(frames, cotangent)
        assert np.array_equal(g.positions, expected.positions)
        assert np.array_equal(g.strain, expected.strain)
    n_atoms = sum(map(len, frames))
    velocities = np.arange(3.0 * n_atoms).reshape(n_atoms, 3)
    expected = descriptor.jvp(frames, velocities)
    for tangent in (np.asfortranarray(velocities), velocities.astype(np.int32), velocities.tolist()):
        assert np.array_equal(descriptor.jvp(frames, tangent), expected)


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_progress_bars_do_not_change_results(cls, frames, capsys):
    descriptor = cls(**sizes_of(cls)).fit(frames)
    X = descriptor.transform(frames)
    capsys.readouterr()
    descriptor.transform(frames)
    assert capsys.readouterr() == ("", "")
    assert np.array_equal(descriptor.transform(frames, progress=True), X)
    expected = descriptor.vjp(frames, X)
    assert np.array_equal(descriptor.vjp(frames, X, progress=True).positions, expected.positions)
    assert np.array_equal(descriptor.jvp(frames, progress=True), descriptor.jvp(frames))
    J = descriptor.jacobian(frames, progress=True)
    assert np.array_equal(J.to_dense(), descriptor.jacobian(frames).to_dense())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert cls.__name__ in captured.err
    assert f"{len(X)}/{len(X)}" in captured.err.replace(" ", "")


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_a_frame_without_atoms_has_no_rows(cls):
    descriptor = cls(**sizes_of(cls), species=["H"])
    X = descriptor.transform(Atoms())
    assert X.shape == (0, len(descriptor.get_feature_names_out()))
    assert len(descriptor.samples(Atoms())) == 0
    g = descriptor.vjp(Atoms(), X)
    assert g.positions.shape == (0, 3)
    assert np.array_equal(g.strain, np.zeros((1, 3, 3)))
    J = descriptor.jacobian(Atoms())
    assert J.groups == []
    assert J.to_dense().shape == (0, 0, 3, X.shape[1])
    assert descriptor.jvp(Atoms()).shape == X.shape
    sparse = cls(**sizes_of(cls), species=["H"], sparse=True).transform(Atoms())
    assert sparse.shape == X.shape


@pytest.mark.parametrize("average", ["inner", "outer"])
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_the_average_of_a_frame_without_atoms_is_zero(cls, average):
    descriptor = cls(**sizes_of(cls), species=["H"], average=average, center_weight=1.0)
    X = descriptor.transform([Atoms(), Atoms("H")])
    assert X.shape[0] == 2
    assert not X[0].any()
    assert X[1].any()
    t = descriptor.jvp([Atoms(), Atoms("H")], np.ones((1, 3)), np.ones((2, 3, 3)))
    assert np.array_equal(t, np.zeros_like(X))
