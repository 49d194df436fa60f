"""Symmetry, smoothness and equal bits, over combinations of options that hold every pair of their values."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from ase import Atoms
from checks import assert_close, assert_rows_close, dense, max_abs, same_bits
from directional import without_small_entries
from named_structures import CUTOFF, CUTOFF_WIDTH, frames_of_five_species
from options import EDGES, NEIGHBOR_RADIUS, SHORT_CUTOFF, VALUES, make_descriptor
from pairwise import CLASSES, all_pairs, label, make_centers, pairs_of, pairwise_cases, without
from scipy.spatial.distance import pdist

import castile
from castile.descriptors import DESCRIPTORS
from castile.layouts import from_array, to_array
from castile.rotations import rotate_coefficients

# Each check takes many frames in one call, so they are no factor.
SYMMETRY = without("frames")
# Rows of a center do not depend on the other centers; a hard edge is none of the smooth ones.
SMOOTHNESS = {**without("frames", "centers"), "cutoff_function": ["cosine", "polynomial"]}
BITS = {**without("frames"), "dtype": ["float64", "float32"]}


@pytest.mark.parametrize("factors", [SYMMETRY, SMOOTHNESS, BITS], ids=["symmetry", "smoothness", "bits"])
def test_the_cases_cover_all_pairs_of_options(factors):
    assert set().union(*map(pairs_of, pairwise_cases(factors))) == all_pairs(factors)


# ---------------------------------------------------------------- symmetry


@dataclass(frozen=True)
class Motion:
    """All frames, turned or described in another way.

    Attributes
    ----------
    matrix : ndarray of shape (3, 3)
        What it does to vectors.
    frames : list of Atoms
    origins : list of ndarray
        For each atom of each frame, which of the original atoms it is, or is a copy of.
    """

    name: str
    matrix: np.ndarray
    frames: list[Atoms]
    origins: list[np.ndarray]

    @classmethod
    def of(cls, name, frames, move, matrix=None):
        """``move`` returns a copy of a frame moved, or this and its origins."""
        moved = [move(atoms.copy()) for atoms in frames]
        moved = [found if isinstance(found, tuple) else (found, np.arange(len(found))) for found in moved]
        return cls(name, np.eye(3) if matrix is None else matrix, *map(list, zip(*moved, strict=True)))

    def centers(self, choice, frames):
        """Those of the original frames, in their order; all copies of each."""
        chosen = make_centers(choice, frames)
        if choice == "species":
            return chosen
        if choice == "all":
            return [np.arange(len(atoms)) for atoms in self.frames]
        return [
            np.concatenate([np.empty(0, int), *(np.flatnonzero(origin == atom) for atom in own)])
            for own, origin in zip(chosen, self.origins, strict=True)
        ]


@functools.cache
def motions():
    """None, and all those that must not matter."""
    frames = list(frames_of_five_species().values())
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.linalg.det(rotation)
    reflection = np.diag([1.0, 1.0, -1.0]) @ rotation

    def turned(matrix, atoms):
        atoms.set_cell(atoms.cell.array @ matrix.T)
        atoms.positions = atoms.positions @ matrix.T
        return atoms

    def translated(atoms):
        atoms.positions += rng.uniform(-20, 20, 3)
        return atoms

    def wrapped(atoms):
        translated(atoms).wrap()
        return atoms

    def shifted(atoms):
        atoms.positions += (rng.integers(-3, 4, (len(atoms), 3)) * atoms.pbc) @ atoms.cell.array
        return atoms

    def permuted(atoms):
        order = rng.permutation(len(atoms))
        return atoms[order], order

    def in_another_cell(atoms):
        """The vectors along periodic axes span the same lattice; the others are free to take some of it up."""
        own = np.ix_(atoms.pbc, atoms.pbc)
        upper, lower = np.array([[1, 2, -1], [0, 1, 1], [0, 0, -1]]), np.array([[1, 0, 0], [-1, 1, 0], [2, 1, 1]])
        matrix = np.eye(3)
        matrix[own] = upper[own] @ lower[own]
        matrix[np.ix_(~atoms.pbc, atoms.pbc)] = 2.0
        atoms.set_cell(matrix @ atoms.cell.array)
        return atoms

    def repeated(atoms):
        times = np.where(atoms.pbc, [2, 3, 1], 1)
        return atoms.repeat(times), np.tile(np.arange(len(atoms)), times.prod())

    return [
        Motion.of("none", frames, lambda atoms: atoms),
        Motion.of("rotation", frames, functools.partial(turned, rotation), rotation),
        Motion.of("reflection", frames, functools.partial(turned, reflection), reflection),
        Motion.of("inversion", frames, functools.partial(turned, -np.eye(3)), -np.eye(3)),
        Motion.of("translation", frames, translated),
        Motion.of("wrapping", frames, wrapped),
        Motion.of("lattice shifts", frames, shifted),
        Motion.of("permutation", frames, permuted),
        Motion.of("another cell", frames, in_another_cell),
        Motion.of("supercell", frames, repeated),
    ]


def turned_rows(rows, descriptor, matrix):
    """Rows of the turned structures: coefficients turn, all else stays."""
    if not isinstance(descriptor, castile.SphericalExpansion):
        return rows
    return from_array(rotate_coefficients(to_array(rows, descriptor), matrix), descriptor)


def original_rows(samples):
    """For each row of all motions, the row of the first motion that stands for the same center or average."""
    n_frames = len(motions()[0].frames)
    rows = {}
    for row, (frame, atom, species) in enumerate(samples.tolist()):
        origin = motions()[frame // n_frames].origins[frame % n_frames]
        known_as = (frame % n_frames, int(origin[atom]) if atom >= 0 else -1, species)
        yield rows.setdefault(known_as, row)


def assert_symmetric(descriptor, choice):
    """To 1e-10 of the largest entry: of every row, and of the gradients of every frame."""
    originals = motions()[0].frames
    n_frames = len(originals)
    frames = [atoms for motion in motions() for atoms in motion.frames]
    centers = [entry for motion in motions() for entry in motion.centers(choice, originals)]
    X = dense(descriptor.transform(frames, centers=centers))
    samples = descriptor.samples(frames, centers=centers)
    origin = np.fromiter(original_rows(samples), int)
    motion_of_row = samples["frame"] // n_frames
    assert origin.max() == np.flatnonzero(motion_of_row == 0).max()

    cotangent = without_small_entries(np.random.default_rng(1), (origin.max() + 1, X.shape[1]))[origin]
    for k, motion in enumerate(motions()):
        rows = motion_of_row == k
        expected = turned_rows(X[origin[rows]], descriptor, motion.matrix)
        names = [f"row {sample}" for sample in samples[rows]]
        assert_rows_close(X[rows], expected, 1e-10, floors=0.0, names=names, what=motion.name)
        cotangent[rows] = turned_rows(cotangent[rows], descriptor, motion.matrix)

    g = descriptor.vjp(frames, sp.csr_array(cotangent) if descriptor.sparse else cotangent, centers=centers)
    for index in range(len(frames)):
        motion, frame = motions()[index // n_frames], index % n_frames
        before, after = (slice(*g.atom_offsets[[f, f + 1]]) for f in (frame, index))
        positions = g.positions[before][motion.origins[frame]] @ motion.matrix.T
        strain = motion.matrix @ g.strain[frame] @ motion.matrix.T
        copies = len(frames[index]) // max(len(originals[frame]), 1)  # each adds a row, or its share of an average
        if descriptor.average == "off":
            strain *= copies
        else:
            positions /= max(copies, 1)
        floor = max_abs(X[samples["frame"] == index])  # per Å: gradients may cancel
        what = f"{motion.name}, frame {frame}"
        assert_close(g.positions[after], positions, 1e-10, floor, f"positions, {what}")
        assert_close(g.strain[index], strain, 1e-10, floor, f"strain, {what}")


@pytest.mark.parametrize("case", pairwise_cases(SYMMETRY), ids=label)
def test_rows_and_gradients_turn_with_the_structure_and_do_not_depend_on_how_it_is_written(case):
    frames = motions()[0].frames
    assert_symmetric(make_descriptor(CLASSES[case["descriptor"]], case, frames).fit(frames), case["centers"])


def make_later_results_wrong(monkeypatch, method, factor):
    """Scale the second half of the rows, or of the atoms' gradients."""
    right = getattr(castile.SOAP, method)

    def wrong(self, *args, **kwargs):
        result = right(self, *args, **kwargs)
        values = result.positions if method == "vjp" else result
        values[len(values) // 2 :] *= factor
        return result

    monkeypatch.setattr(castile.SOAP, method, wrong)


@pytest.mark.parametrize("method", ["transform", "vjp"])
def test_a_billionth_would_be_seen(method, monkeypatch):
    make_later_results_wrong(monkeypatch, method, 1 + 1e-9)
    with pytest.raises(AssertionError, match="error"):
        assert_symmetric(castile.SOAP(CUTOFF, 3, 2).fit(motions()[0].frames), "all")


# ---------------------------------------------------------------- smoothness

# Of values and slopes across an edge, per Å and relative to the largest slope. The second derivative of f_c reaches
# 5.8/width² = 16 per Å², twice of which separates epsilon inside from epsilon outside; products, weights and norms
# make 23 of it at most. A jump, however small, exceeds any such bound as epsilon goes to zero.
STEEPEST_CHANGE = 100.0
DISTANCES_FROM_THE_EDGE = [1e-3, 1e-5, 1e-7]  # Å
CROSSING = ["CH", "CC"]


def edges(case):
    """Where weights begin to fall, where they end, and where radial functions end, Å."""
    cutoffs = [CUTOFF, SHORT_CUTOFF] if case["cutoff"] == "by_species" else [CUTOFF]
    ends = cutoffs if case["neighbor_radius"] is None else [NEIGHBOR_RADIUS]
    return sorted({*ends, *(end - CUTOFF_WIDTH for end in ends), *cutoffs})


def has_a_kink(case):
    """The functions themselves go to zero at the cutoff with a slope, and no weight takes it away."""
    return (case["radial_basis"], case["sigma"], case["neighbor_radius"]) == ("laplacian", "zero", "beyond")


def smooth_edges(case):
    kinks = {CUTOFF, SHORT_CUTOFF} if has_a_kink(case) else set()
    return [edge for edge in edges(case) if edge not in kinks]


def two_clusters(distance, crossing):
    """Two atoms at a distance, and behind each three near ones, one of each species: no row ever is zero, so that
    normalized ones are smooth."""
    mates = np.array([[-1.5, 0.9, 0.3], [-1.1, -1.3, 0.2], [-0.7, 0.4, -1.6]])
    left = np.vstack([np.zeros(3), mates])
    positions = np.vstack([left, left * [-1, -1, 1] + [distance, 0, 0]])
    turn = np.array([[0.36, 0.48, 0.8], [-0.8, 0.6, 0.0], [-0.48, -0.64, 0.6]])
    return Atoms([crossing[0], *"CHN", crossing[1], *"NHC"], positions=positions @ turn)


def assert_smooth(case, at):
    """Values and slopes, along positions and strain, change in proportion to the distance that atoms move across the
    edges ``at``."""
    near = [two_clusters(edge - 0.1, crossing) for edge in at for crossing in CROSSING]
    descriptor = make_descriptor(CLASSES[case["descriptor"]], case, near).fit(near)
    rng = np.random.default_rng(0)
    velocities, rate = without_small_entries(rng, (len(near[0]), 3)), without_small_entries(rng, (3, 3))
    for epsilon in DISTANCES_FROM_THE_EDGE:
        frames = [
            two_clusters(edge + side * epsilon, crossing) for side in (-1, 1) for edge in at for crossing in CROSSING
        ]
        X = dense(descriptor.transform(frames))
        of_positions = dense(descriptor.jvp(frames, positions=np.tile(velocities, (len(frames), 1))))
        of_strain = dense(descriptor.jvp(frames, strain=np.tile(rate, (len(frames), 1, 1))))
        largest = max(max_abs(of_positions), max_abs(of_strain), 1e-3 * max_abs(X))  # normalized numbers are constant
        for name, values in [("values", X), ("slopes", of_positions), ("slopes by strain", of_strain)]:
            inside, outside = np.split(values, 2)
            change = max_abs(inside - outside)
            assert change <= STEEPEST_CHANGE * epsilon * largest, f"{name} jump by {change / largest:.1e}"


@pytest.mark.parametrize("case", pairwise_cases(SMOOTHNESS), ids=label)
def test_values_and_slopes_are_continuous_as_an_atom_crosses_any_smooth_edge(case):
    assert_smooth(case, smooth_edges(case))


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("crossing", CROSSING)
def test_only_one_pair_crosses_an_edge(crossing, edge):
    distances = pdist(two_clusters(edge, crossing).positions)
    from_edges = np.abs(distances[:, None] - EDGES).min(axis=1)
    assert (from_edges < 0.01).sum() == 1


@pytest.mark.parametrize("radial_basis", VALUES["radial_basis"])
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_a_hard_edge_is_seen_to_be_none_of_the_smooth_ones(cls, radial_basis):
    case = {name: values[0] for name, values in VALUES.items()}
    case |= {"descriptor": cls.__name__, "radial_basis": radial_basis}
    assert_smooth(case, [CUTOFF])
    with pytest.raises(AssertionError, match="jump"):
        assert_smooth({**case, "cutoff_function": None}, [CUTOFF])


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_slopes_alone_jump_where_functions_end_inside_of_the_neighbor_radius(cls):
    case = {name: values[0] for name, values in VALUES.items()}
    case |= {"descriptor": cls.__name__, "radial_basis": "laplacian", "sigma": "zero", "neighbor_radius": "beyond"}
    assert has_a_kink(case)
    with pytest.raises(AssertionError, match="slopes"):
        assert_smooth(case, [CUTOFF])
    assert_smooth({**case, "radial_basis": "polynomial"}, [CUTOFF])


# ---------------------------------------------------------------- bits


@functools.cache
def frames_of_several_blocks():
    """The last has more atoms than the averages of one block take."""
    rng = np.random.default_rng(5)
    sites = np.indices((5, 4, 4)).reshape(3, -1).T
    positions = 2.9 * sites + rng.uniform(-0.4, 0.4, sites.shape)
    crystal = Atoms(rng.choice(["H", "C"], len(sites)), positions=positions, cell=2.9 * np.diag([5, 4, 4]), pbc=True)
    return [*frames_of_five_species().values(), crystal]


@dataclass(frozen=True)
class Arguments:
    """Of all methods, for some frames."""

    frames: list[Atoms]
    centers: Any
    cotangent: np.ndarray
    velocities: np.ndarray
    rates: np.ndarray

    @classmethod
    def of(cls, descriptor, frames, choice):
        centers = make_centers(choice, frames)
        shape = (len(descriptor.samples(frames, centers=centers)), len(descriptor.get_feature_names_out()))
        rng = np.random.default_rng(2)
        sizes = [shape, (sum(map(len, frames)), 3), (len(frames), 3, 3)]
        return cls(frames, centers, *(without_small_entries(rng, size) for size in sizes))

    def of_frame(self, frame, rows, atoms):
        centers = None if self.centers is None else [self.centers[frame]]
        one = slice(frame, frame + 1)
        return Arguments(self.frames[one], centers, self.cotangent[rows], self.velocities[atoms], self.rates[one])


def results_by_frame(descriptor, arguments):
    """For each frame: slices of its rows and its atoms, and all results by name."""
    frames, centers = arguments.frames, arguments.centers
    cotangent = sp.csr_array(arguments.cotangent) if descriptor.sparse else arguments.cotangent
    X = descriptor.transform(frames, centers=centers)
    t = descriptor.jvp(frames, arguments.velocities, arguments.rates, centers=centers)
    g = descriptor.vjp(frames, cotangent, centers=centers)
    J = descriptor.jacobian(frames, centers=centers)
    bounds = np.searchsorted(descriptor.samples(frames, centers=centers)["frame"], np.arange(len(frames) + 1))
    for frame in range(len(frames)):
        rows, atoms = slice(*bounds[frame : frame + 2]), slice(*g.atom_offsets[frame : frame + 2])
        results = {"X": X[rows], "jvp": t[rows], "positions": g.positions[atoms], "strain": g.strain[frame]}
        for group in J.groups:
            own = group.frame == frame
            name = f"Jacobian, {group.species}, columns {hash(group.columns.tobytes())}"
            if own.any():
                results |= {f"{name}, values": group.values[own], f"{name}, atom": group.atom[own]}
                results |= {f"{name}, row": group.row[own] - rows.start}
        for group in J.strain_groups:
            own = (group.row >= rows.start) & (group.row < rows.stop)
            name = f"Jacobian, strain, columns {hash(group.columns.tobytes())}"
            if own.any():
                results |= {f"{name}, values": group.values[own], f"{name}, row": group.row[own] - rows.start}
        yield rows, atoms, results


def assert_same_results(found, expected, what):
    assert found.keys() == expected.keys(), what
    different = [name for name in expected if not same_bits(found[name], expected[name])]
    assert not different, f"{what}: {different}"


def assert_same_bits_always(descriptor, frames, choice):
    arguments = Arguments.of(descriptor, frames, choice)
    with castile.threads(1):
        expected = list(results_by_frame(descriptor, arguments))
    for n_threads in (2, 4):
        with castile.threads(n_threads):
            for frame, (_, _, found) in enumerate(results_by_frame(descriptor, arguments)):
                assert_same_results(found, expected[frame][2], f"{n_threads} threads, frame {frame}")
    for frame, (rows, atoms, joint) in enumerate(expected):
        ((_, _, alone),) = results_by_frame(descriptor, arguments.of_frame(frame, rows, atoms))
        assert_same_results(alone, joint, f"alone, frame {frame}")


@pytest.mark.parametrize("case", pairwise_cases(BITS), ids=label)
def test_bits_depend_neither_on_threads_nor_on_the_other_frames(case):
    frames = frames_of_several_blocks()
    descriptor = make_descriptor(CLASSES[case["descriptor"]], case, frames).fit(frames)
    assert_same_bits_always(descriptor.set_params(dtype=case["dtype"]), frames, case["centers"])


@pytest.mark.parametrize("method", ["transform", "vjp", "jvp"])
def test_a_last_bit_would_be_seen(method, monkeypatch):
    make_later_results_wrong(monkeypatch, method, 1 + np.finfo(float).eps)
    frames = frames_of_several_blocks()
    with pytest.raises(AssertionError, match="alone"):
        assert_same_bits_always(castile.SOAP(CUTOFF, 3, 2).fit(frames), frames, "all")
