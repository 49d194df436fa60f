"""From the user's structures to arrays: conversion, checks and the map of species."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from checks import same_bits
from named_structures import several_frames

import castile
from castile.errors import InputError, InputTypeError, UnknownSpeciesError
from castile.structures import as_frames, as_structure_arrays, species_table


def soap(**options):
    return castile.SOAP(**{"cutoff": 3.0, "n_max": 2, "l_max": 1, **options})


def test_arrays_hold_all_frames_behind_each_other():
    frames = several_frames()
    arrays = as_structure_arrays(frames)
    assert arrays.n_frames == 5
    assert arrays.n_atoms == sum(len(atoms) for atoms in frames)
    assert arrays.atom_offsets.tolist() == [0, *np.cumsum([len(atoms) for atoms in frames])]
    assert np.array_equal(arrays.positions, np.vstack([atoms.positions for atoms in frames]))
    assert np.array_equal(arrays.numbers, np.concatenate([atoms.numbers for atoms in frames]))
    assert np.array_equal(arrays.cells, [atoms.cell.array for atoms in frames])
    assert np.array_equal(arrays.pbc, [atoms.pbc for atoms in frames])
    assert arrays.frame_of_atoms().tolist() == [k for k, atoms in enumerate(frames) for _ in atoms]
    for array in (arrays.positions, arrays.cells):
        assert array.dtype == np.float64
        assert array.flags.c_contiguous


def test_positions_are_copied():
    atoms = bulk("Si")
    arrays = as_structure_arrays(atoms)
    arrays.positions[:] = 7.0
    arrays.cells[:] = 7.0
    assert not (atoms.positions == 7.0).any()
    assert not (atoms.cell.array == 7.0).any()


def test_slices_are_views_with_their_own_offsets():
    arrays = as_structure_arrays(several_frames())
    part = arrays.slice(2, 4)
    assert part.n_frames == 2
    assert part.atom_offsets.tolist() == [0, 2, 3]
    assert np.shares_memory(part.positions, arrays.positions)
    assert same_bits(part.cells, arrays.cells[2:4])


def test_an_atoms_object_is_one_frame_although_one_can_iterate_over_it():
    atoms = bulk("Si")
    assert as_frames(atoms) == [atoms]
    assert as_frames(iter([atoms, atoms])) == [atoms, atoms]
    assert as_frames([]) == []


def test_positions_that_are_not_contiguous_are_handled():
    atoms = bulk("NaCl", "rocksalt", 5.64)
    strided = atoms.copy()
    strided.arrays["positions"] = np.repeat(atoms.positions, 2, axis=1)[:, ::2]
    fortran = atoms.copy()
    fortran.arrays["positions"] = np.asfortranarray(atoms.positions)
    expected = soap().fit_transform(atoms)
    for other in (strided, fortran):
        assert same_bits(soap().fit_transform(other), expected)


def test_structures_with_calculators_constraints_and_extra_arrays_are_plain_structures():
    from ase.calculators.lj import LennardJones
    from ase.constraints import FixAtoms

    atoms = bulk("Ar", a=5.3)
    expected = soap().fit_transform(atoms)
    atoms.calc = LennardJones()
    atoms.set_constraint(FixAtoms([0]))
    atoms.set_array("labels", np.array(["a"]))
    atoms.set_initial_magnetic_moments([1.0])
    assert same_bits(soap().fit_transform(atoms), expected)


def test_atomic_numbers_outside_the_periodic_table_are_named():
    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 1]])
    for number in (-1, 119, 1000):
        atoms.numbers[1] = number
        with pytest.raises(InputError, match=f"atom 1 of frame 1 has atomic number {number}; it must lie between"):
            soap(species=["H"]).transform([Atoms("H"), atoms])


def test_dummy_atoms_are_a_species_of_their_own():
    atoms = Atoms("XH", positions=[[0, 0, 0], [0, 0, 1.0]])
    X = soap().fit(atoms)
    assert X.species_ == ("X", "H")
    assert X.transform(atoms).shape[0] == 2


def test_the_species_table_maps_numbers_to_indices():
    table = species_table(["H", "Si"], np.array([1, 14]), "SOAP")
    assert table.dtype == np.int32
    assert table[1] == 0
    assert table[14] == 1
    assert (np.delete(table, [1, 14]) == -1).all()
    with pytest.raises(UnknownSpeciesError) as caught:
        species_table(["H"], np.array([8, 1, 6, 8]), "SOAP")
    assert str(caught.value).startswith("SOAP knows the species H, but the frames also hold C, O; ")


@pytest.mark.parametrize("height", [1.0, 1e-3, 1e-7])
def test_thin_cells_are_taken_as_long_as_they_have_a_volume(height):
    atoms = Atoms("H", cell=[[1, 0, 0], [0, 1, 0], [1, 1, height]], pbc=True)
    assert as_structure_arrays(atoms).n_frames == 1


def test_the_volume_is_that_of_the_periodic_vectors_alone():
    flat_elsewhere = Atoms("H", cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]], pbc=[True, True, False])
    expected = soap().fit_transform(Atoms("H", cell=[[3, 0, 0], [0, 3, 0], [0, 0, 0]], pbc=[True, True, False]))
    np.testing.assert_allclose(soap().fit_transform(flat_elsewhere), expected, rtol=1e-12)
    with pytest.raises(InputError, match="span no volume"):
        as_structure_arrays(Atoms("H", cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]], pbc=True))


class _FakeStructure:
    """What the converter looks for in a pymatgen Structure, which also is iterable."""

    def __init__(self, atoms):
        self.atoms = atoms

    def __iter__(self):
        return iter(["site"] * len(self.atoms))

    def to_ase_atoms(self):
        return self.atoms


_FakeStructure.__module__ = "pymatgen.core.structure"


def test_objects_like_pymatgen_structures_are_converted():
    atoms = bulk("NaCl", "rocksalt", 5.64)
    expected = soap().fit_transform([atoms, atoms])
    assert same_bits(soap().fit_transform([_FakeStructure(atoms), atoms]), expected)
    single = _FakeStructure(atoms)
    assert same_bits(soap().fit_transform(single), expected[:2])
    # A single structure takes the entry itself, as a single Atoms does.
    assert same_bits(soap().fit_transform(single, centers=[1]), expected[1:2])
    assert soap().fit(single).samples(single, centers="Cl")["atom"].tolist() == [1]


def test_pymatgen_structures_and_molecules_give_the_rows_of_their_atoms():
    core = pytest.importorskip("pymatgen.core")
    structure = core.Structure([[3.5, 0, 0], [0.3, 3.6, 0], [0, 0.2, 4.0]], ["Na", "Cl"], [[0, 0, 0], [0.5, 0.4, 0.6]])
    molecule = core.Molecule(["O", "H", "H"], [[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]])
    ase_frames = [
        Atoms("NaCl", scaled_positions=structure.frac_coords, cell=structure.lattice.matrix, pbc=True),
        Atoms("OH2", positions=molecule.cart_coords),
    ]
    expected = soap().fit_transform(ase_frames)
    np.testing.assert_allclose(soap().fit_transform([structure, molecule]), expected, rtol=1e-10, atol=1e-12)
    alone = soap().fit(ase_frames)
    np.testing.assert_allclose(alone.transform(structure, centers=[1]), expected[[1]], rtol=1e-10, atol=1e-12)


def test_an_object_with_a_foreign_type_is_named_with_its_place():
    with pytest.raises(InputTypeError, match=r"frames\[1\] must be an ase.Atoms or a pymatgen Structure, got object"):
        as_frames([bulk("Si"), object()])


def test_a_cell_skewed_by_many_vectors_still_has_a_volume():
    skewed = Atoms("H", cell=[[3, 0, 0], [3e7, 3, 0], [0, 0, 3]], pbc=True)
    assert as_structure_arrays(skewed).n_frames == 1
    flat = Atoms("H", cell=[[3, 0, 0], [3e7, 0, 0], [0, 0, 3]], pbc=True)
    with pytest.raises(InputError, match="frame 0 span no volume"):
        as_structure_arrays(flat)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("positions", np.array([["a", "b", "c"]], dtype=object), "positions of frame 1 must hold numbers"),
        ("positions", np.zeros((1, 2)), r"positions of frame 1 must have shape \(any, 3\), got \(1, 2\)"),
        ("numbers", np.zeros(2, dtype=int), r"numbers of frame 1 must have shape \(1\), got \(2\)"),
    ],
)
def test_arrays_that_were_spoilt_are_refused_by_frame(name, wrong, message):
    spoilt = Atoms("H")
    spoilt.arrays[name] = wrong
    with pytest.raises(InputError, match=message):
        as_structure_arrays([Atoms("H"), spoilt])


def test_what_a_conversion_raises_is_passed_on():
    class Interrupting:
        def __array__(self, *arguments, **options):
            raise KeyboardInterrupt

    spoilt = Atoms("H")
    spoilt.arrays["positions"] = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        as_structure_arrays(spoilt)
