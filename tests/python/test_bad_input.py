"""Every input that cannot be used reaches an error that names it and says what to do."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from ase import Atom, Atoms
from ase.build import bulk, molecule
from sklearn import config_context

import castile
from castile import _core, _memory, errors
from castile.descriptors import DESCRIPTORS, Products
from castile.descriptors._parameters import Learned, core_parameters
from castile.errors import (
    InputError,
    InputTypeError,
    MemoryLimitError,
    MissingPackageError,
    NotFittedError,
    UnknownSpeciesError,
)


def hydrogen():
    return Atoms("H2", positions=[[0, 0, 0], [0, 0, 1.0]])


def make(cls=castile.SOAP, **options):
    sizes = {"cutoff": 3.0, "n_max": 2, "l_max": 2, "species": ["H", "Si"], **options}
    names = cls._get_param_names()
    return cls(**{name: value for name, value in sizes.items() if name in names})


@pytest.fixture(params=DESCRIPTORS, ids=lambda cls: cls.__name__)
def cls(request):
    return request.param


# ---------------------------------------------------------------- structures


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_position_that_is_not_finite_is_named_by_frame_and_atom(cls, value):
    bad = hydrogen()
    bad.positions[1, 2] = value
    with pytest.raises(InputError, match="the position of atom 1 of frame 2 is not finite"):
        make(cls).transform([hydrogen(), Atoms(), bad, hydrogen()])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": [np.nan, 1, 1], "pbc": True}, "the cell of frame 1 is not finite"),
        ({"cell": [np.inf, 1, 1], "pbc": False}, "the cell of frame 1 is not finite"),
        ({"cell": [[1, 0, 0], [2, 0, 0], [0, 0, 1]], "pbc": True}, "cell vectors of frame 1 span no volume"),
        ({"cell": [[1, 0, 0], [0, 1, 0], [1, 1, 0]], "pbc": True}, "cell vectors of frame 1 span no volume"),
        ({"cell": [[1, 0, 0], [2, 0, 0], [0, 0, 1]], "pbc": [1, 1, 0]}, "cell vectors of frame 1 span no volume"),
        ({"pbc": True}, "frame 1 is periodic along axis 0 but has no cell vector there; set atoms.cell, or"),
        ({"cell": [3, 0, 3], "pbc": [0, 1, 0]}, "frame 1 is periodic along axis 1 but has no cell vector"),
    ],
)
def test_a_cell_that_cannot_be_used_is_named_by_its_frame(cls, options, message):
    with pytest.raises(InputError, match=message):
        make(cls).transform([hydrogen(), Atoms("H", **options)])


def test_a_flat_cell_is_fine_along_axes_that_are_not_periodic(cls):
    flat = hydrogen()
    flat.set_cell([[1, 0, 0], [2, 0, 0], [0, 0, 0]])
    assert np.array_equal(make(cls).transform(flat), make(cls).transform(hydrogen()))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (None, "frames must be ase.Atoms or a sequence of them, got NoneType"),
        (5, "frames must be ase.Atoms or a sequence of them, got int"),
        ("water.xyz", r"got str; read files with ase.io.read\(path, ':'\)"),
        (Atom("H"), "frames must be ase.Atoms or a sequence of them, got Atom"),
        (np.zeros((3, 3)), r"frames\[0\] must be an ase.Atoms or a pymatgen Structure, got ndarray"),
        ([[1.0, 2.0]], r"frames\[0\] must be an ase.Atoms or a pymatgen Structure, got list"),
        ([hydrogen(), None], r"frames\[1\] must be an ase.Atoms or a pymatgen Structure, got NoneType"),
        ([[hydrogen()]], r"frames\[0\] must be an ase.Atoms"),
        (["a.xyz", "b.xyz"], r"frames\[0\] must be .* got str; read files with ase.io.read\(path, ':'\)"),
        ([Path("a.xyz")], r"frames\[0\] must be .*; read files with ase.io.read\(path, ':'\)"),
        ({"a": hydrogen()}, r"got dict; give list\(frames.values\(\)\)"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("method", ["fit", "transform", "samples", "jacobian", "jvp", "estimate_memory"])
def test_something_else_than_frames_is_a_type_error(method, frames, message):
    with pytest.raises(InputTypeError, match=message):
        getattr(make(), method)(frames)


def test_a_table_of_structures_gets_the_name_of_the_column():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"energy": [1.0, 2.0], "structure": [hydrogen(), hydrogen()]})
    with pytest.raises(InputTypeError, match=r"got a DataFrame; give its column of structures, df\['structure'\]"):
        make().transform(table)
    for other in (table[["energy"]], table[:0]):
        with pytest.raises(InputTypeError, match=r"df\['atoms'\]"):
            make().fit(other)
    assert make().transform(table["structure"]).shape[0] == 4


@pytest.mark.parametrize("frames", [[], (), np.zeros(0), iter([])], ids=lambda value: type(value).__name__)
def test_no_frames_are_an_error(cls, frames):
    with pytest.raises(InputError, match="frames is empty; give at least one"):
        make(cls).transform(frames)
    with pytest.raises(InputError, match="frames is empty"):
        make(cls, species=None).fit([])


def test_species_cannot_be_learned_without_atoms(cls):
    with pytest.raises(InputError, match="frames hold no atoms to learn the species from; give species="):
        make(cls, species=None).fit([Atoms()])


def test_positions_far_outside_of_any_scale_are_refused(cls):
    far = Atoms("H2", positions=[[0, 0, 0], [1e18, 0, 0]], cell=[3, 3, 3], pbc=True)
    with pytest.raises(InputError, match="wrap the positions into the cell"):
        make(cls).transform(far)
    far.pbc = False
    far.positions[1] = 1e300
    with pytest.raises(InputError, match="positions"):
        make(cls).transform(far)


# ---------------------------------------------------------------- species


def test_absent_species_are_named(cls):
    message = "knows the species H, Si, but the frames also hold C, O; add them to species="
    for method in ("fit", "transform", "jacobian", "estimate_memory"):
        with pytest.raises(UnknownSpeciesError, match=f"{cls.__name__} {message}") as caught:
            getattr(make(cls), method)([Atoms("H"), Atoms("COH")])
        assert isinstance(caught.value, KeyError)
    fitted = make(cls, species=None).fit(Atoms("HSi"))
    with pytest.raises(UnknownSpeciesError, match=message):
        fitted.transform(Atoms("CO"))


@pytest.mark.parametrize(
    ("species", "error", "message"),
    [
        ("H", InputTypeError, r"species must be a list of symbols, got 'H'; write \['H'\]"),
        ("HC", InputTypeError, r"species must be a list of symbols, got 'HC'; write \['H', 'C'\]$"),
        ("Si, O", InputTypeError, r"got 'Si, O'; write \['Si', 'O'\]$"),
        ("Si", InputTypeError, r"got 'Si'; write \['Si'\]$"),
        ("water", InputTypeError, r"got 'water'; write one such as \['H', 'C'\]$"),
        ("", InputTypeError, r"got ''; write one such as \['H', 'C'\]$"),
        (5, InputTypeError, "species must be a list of symbols, got 5"),
        ([], InputError, "species must name at least one element, each once"),
        (["H", "H"], InputError, "species must name at least one element, each once"),
        (["H", 1], InputError, "species must name at least one element, each once"),
        (["H", "Xy"], InputError, "species holds 'Xy', which is not a chemical symbol"),
        (["h"], InputError, "species holds 'h'"),
        ([200], InputError, "species holds 200"),
        ([-1], InputError, "species holds -1"),
        ([1.0], InputError, "species holds 1.0"),
        ([True], InputError, "species holds True"),
        ([None], InputError, "species holds None"),
        ([["H"]], InputError, "species holds"),
    ],
    ids=repr,
)
def test_species_that_cannot_be_used_are_named(cls, species, error, message):
    for method in ("fit", "transform"):
        with pytest.raises(error, match=message):
            getattr(make(cls, species=species), method)(hydrogen())
    with pytest.raises(error, match=message):
        make(cls, species=species).get_feature_names_out()


def test_unknown_species_need_a_fit_first(cls):
    descriptor = make(cls, species=None)
    calls = [descriptor.transform, descriptor.samples, descriptor.jacobian, descriptor.jvp, descriptor.estimate_memory]
    for call in calls:
        with pytest.raises(NotFittedError, match=rf"call fit\(frames\) first, or give species= to {cls.__name__}"):
            call(hydrogen())
    with pytest.raises(NotFittedError):
        descriptor.get_feature_names_out()
    with pytest.raises(NotFittedError):
        descriptor.vjp(hydrogen(), np.zeros((2, 2)))


# ---------------------------------------------------------------- parameters

BAD_PARAMETERS = [
    *[
        (name, value, InputError, f"{name} must be a positive length in Å, got")
        for name in ("cutoff", "cutoff_width", "neighbor_radius")
        for value in (0, -1, -0.1)
    ],
    *[("sigma", value, InputError, "sigma must be a length in Å of 0 or more, got") for value in (-1, -0.1)],
    *[
        (name, value, InputError, f"{name} must be a finite number")
        for name in ("cutoff", "sigma", "cutoff_width", "center_weight", "accuracy")
        for value in (np.nan, np.inf)
    ],
    *[
        (name, value, InputTypeError, f"{name} must be a number")
        for name in ("cutoff", "sigma", "cutoff_width", "center_weight", "accuracy")
        for value in ("5", None, True, [1.0], 1j)
    ],
    ("cutoff_width", 3.1, InputError, r"cutoff_width must be above 0 and at most the cutoff \(3"),
    ("cutoff", {"H": 3.0}, InputError, "cutoff must have an entry for each of the species .* lacks 'Si'"),
    ("cutoff", {"H": 3.0, "Si": -1.0}, InputError, r"cutoff\['Si'\] must be a positive length"),
    ("sigma", {"H": 0.3}, InputError, "sigma must have an entry for each of the species .* lacks 'Si'"),
    ("sigma", {"H": 0.3, "Si": "a"}, InputTypeError, r"sigma\['Si'\] must be a number in Å"),
    ("neighbor_radius", "5", InputTypeError, "neighbor_radius must be a number in Å"),
    ("species_weights", {"H": 1.0}, InputError, r"species_weights must have an entry .* lacks \['Si'\]"),
    ("species_weights", [1.0, 2.0], InputTypeError, "species_weights must be None or a dict"),
    ("species_weights", {"H": 1.0, "Si": np.nan}, InputError, r"species_weights\['Si'\] must be a finite"),
    ("density_weighting", "poly", InputTypeError, "density_weighting must be None or a dict"),
    ("density_weighting", {"r0": 1.0}, InputTypeError, "density_weighting must be None or a dict"),
    ("density_weighting", {"function": "tanh"}, InputError, r"density_weighting\['function'\] must be one of"),
    ("density_weighting", {"function": "poly", "r0": 2.0}, InputError, "density_weighting of 'poly' needs 'm'"),
    (
        "density_weighting",
        {"function": "poly", "r0": 2.0, "m": 1, "d": 1},
        InputError,
        r"density_weighting of 'poly' takes .* got \['d'\] too",
    ),
    ("density_weighting", {"function": "poly", "r0": 0.0, "m": 1}, InputError, r"density_weighting\['r0'\]"),
    ("density_weighting", {"function": "pow", "r0": 1.0, "m": 1, "d": -1.0}, InputError, r"density_weighting\['d'\]"),
    ("density_weighting", {"function": "exp", "r0": 1.0, "d": np.nan}, InputError, r"density_weighting\['d'\]"),
    (
        "density_weighting",
        {"function": "willatt", "rate": -1.0, "scale": 1.0, "exponent": 2},
        InputError,
        r"density_weighting\['rate'\]",
    ),
    ("n_primitives", 1.5, InputTypeError, "n_primitives must be an integer"),
    ("radial_basis", 3, InputError, "radial_basis must be one of .* or a castile.TabulatedBasis"),
    *[("accuracy", value, InputError, "accuracy must lie between 1e-13 and") for value in (0, -1, 1e-14, 0.1)],
    ("n_max", 0, InputError, "n_max must be 1 or more, got 0"),
    ("n_max", -3, InputError, "n_max must be 1 or more, got -3"),
    ("n_max", 17, InputError, "n_max must be at most 16 for radial_basis 'gto', .* got 17"),
    ("l_max", -1, InputError, "l_max must be 0 or more, got -1"),
    ("l_max", 31, InputError, "l_max must lie between 0 and 30, got 31"),
    *[
        (name, value, InputTypeError, f"{name} must be an integer, got")
        for name in ("n_max", "l_max")
        for value in (2.0, 2.5, "3", None, True)
    ],
    *[
        ("average", value, InputError, "average must be one of 'off', 'inner', .*, got")
        for value in ("mean", True, None)
    ],
    *[
        ("dtype", value, InputError, "dtype must be one of 'float64', 'float32' or the types of NumPy, got")
        for value in ("float16", "f8", int, bool, np.float16, np.dtype(np.int64), np.dtype(">f8"), None, 64, [float])
    ],
    ("radial_basis", "gtoo", InputError, "radial_basis must be one of 'gto'.*, got 'gtoo'"),
    *[
        ("cutoff_function", value, InputError, "cutoff_function must be one of 'cosine', 'polynomial', None, got")
        for value in ("cos", False)
    ],
    *[
        (name, value, InputTypeError, f"{name} must be True or False, got")
        for name in ("normalize", "sparse")
        for value in (1, "yes", None)
    ],
]


@pytest.mark.parametrize(("name", "value", "error", "message"), BAD_PARAMETERS, ids=lambda value: str(value)[:20])
def test_parameters_out_of_range_are_named_with_their_value(cls, name, value, error, message):
    if name not in cls._get_param_names():
        pytest.skip(f"{cls.__name__} has no {name}")
    if cls is Products and (name, value) in [("n_max", None), ("l_max", None)]:
        pytest.skip("its degrees tell the sizes")
    options = {"radial_basis": "gto", "cutoff_function": "cosine"} if cls is Products else {}
    descriptor = make(cls, **{**options, name: value})  # checked on first use, not here
    for method in ("fit", "transform"):
        with pytest.raises(error, match=message):
            getattr(descriptor, method)(hydrogen())


@pytest.mark.parametrize(("name", "value"), [("n_max", 2.5), ("n_max", -3), ("l_max", "a"), ("l_max", -1)])
def test_names_of_features_check_the_sizes(name, value):
    with pytest.raises((InputError, InputTypeError), match=f"{name} must be"):
        make(**{name: value}).get_feature_names_out()


@pytest.mark.parametrize("value", [1e-14, 0.5])
def test_the_message_shows_the_accuracy_that_was_given(value):
    with pytest.raises(InputError, match=f"got {value:g}"):
        make(accuracy=value).fit(hydrogen())


def test_numbers_of_numpy_are_numbers(cls):
    options = {"cutoff": np.float32(3.0), "n_max": np.int64(2), "l_max": np.int32(2), "normalize": np.bool_(True)}
    expected = make(cls, normalize=True).transform(hydrogen())
    assert np.array_equal(make(cls, **options).transform(hydrogen()), expected)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("rcut", "cutoff"),
        ("r_cut", "cutoff"),
        ("RCUT", "cutoff"),
        ("cutof", "cutoff"),
        ("interaction_cutoff", "cutoff"),
        ("nmax", "n_max"),
        ("max_radial", "n_max"),
        ("atomic_gaussian_width", "sigma"),
        ("center_atom_weight", "center_weight"),
        ("elements", "species"),
        ("normalise", "normalize"),
        ("cutoff_transition_width", "cutoff_width"),
    ],
)
def test_unknown_options_are_refused_with_the_name_that_was_meant(cls, name, hint):
    message = f"{cls.__name__} has no parameter '{name}'; did you mean {hint}?"
    with pytest.raises(InputTypeError) as caught:
        cls(**{name: 1})
    assert str(caught.value) == message


def test_an_option_that_means_nothing_gets_no_hint(cls):
    with pytest.raises(InputTypeError, match=r"has no parameter 'blah'$"):
        cls(blah=1)


def test_other_names_for_l_max_are_hinted_at_where_there_is_one():
    with pytest.raises(InputTypeError, match=r"did you mean l_max\?"):
        castile.SOAP(lmax=3)


def test_a_radial_spectrum_has_no_l_max():
    for name in ("l_max", "lmax"):
        with pytest.raises(InputTypeError, match=rf"RadialSpectrum has no parameter '{name}'$"):
            castile.RadialSpectrum(**{name: 3})
    with pytest.raises(InputError, match=r"RadialSpectrum has no parameter 'l_max'$"):
        castile.RadialSpectrum().set_params(l_max=3)


def test_set_params_refuses_what_does_not_exist_and_changes_nothing():
    soap = castile.SOAP()
    for name in ("rcut", "cutof", "cutoff__a"):
        with pytest.raises(InputError, match=rf"SOAP has no parameter '{name}'; did you mean cutoff\?"):
            soap.set_params(n_max=2, **{name: 3.0})
    with pytest.raises(InputError, match=r"SOAP has no parameter 'foo'$"):
        soap.set_params(foo=1)
    with pytest.raises(InputError, match=r"KernelRidge has no parameter 'alphas'; did you mean alpha\?"):
        castile.KernelRidge().set_params(alphas=1.0)
    assert soap.n_max == castile.SOAP().n_max
    assert soap.set_params(n_max=2) is soap
    assert soap.n_max == 2


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_a_table_without_its_library_is_refused_with_the_way_to_get_it(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    install = "castile[pandas]" if package == "pandas" else package
    message = re.escape(f'needs the package {package}; install it with pip install "{install}", or set_output(')
    soap = castile.SOAP(species=["H"])
    with pytest.raises(MissingPackageError, match=message):
        soap.set_output(transform=package).transform(hydrogen())
    with config_context(transform_output=package), pytest.raises(MissingPackageError, match=message):
        castile.SOAP(species=["H"]).fit_transform(hydrogen())
    assert soap.set_output(transform="default").transform(hydrogen()).shape[0] == len(hydrogen())


# ---------------------------------------------------------------- cotangents and tangents


def test_none_is_no_cotangent(cls):
    with pytest.raises(InputTypeError, match=r"cotangent must be an array, .*; None is no cotangent"):
        make(cls).vjp(hydrogen(), None)
    with pytest.raises(InputTypeError, match="distances must hold real numbers, got None"):
        make(cls).radial_functions(None)


def test_cotangents_of_another_shape_are_refused(cls):
    descriptor = make(cls)
    X = descriptor.transform(hydrogen())
    for cotangent in (X[0], X[:1], X[:, :-1], np.zeros((3, 2)), 1.0, sp.csr_array(X[:1])):
        with pytest.raises(InputError, match=r"cotangent must have shape .*, that of the features, got"):
            descriptor.vjp(hydrogen(), cotangent)


def test_cotangents_that_are_not_real_numbers_are_refused(cls):
    descriptor = make(cls)
    X = descriptor.transform(hydrogen())
    for cotangent in (X + 0j, X.astype(str), sp.csr_array(X) * 1j, "abc", [["a"]], [[1.0], [1.0, 2.0]]):
        with pytest.raises(InputTypeError, match="cotangent must hold real numbers"):
            descriptor.vjp(hydrogen(), cotangent)


def test_tangents_of_another_shape_or_kind_are_refused(cls):
    descriptor = make(cls)
    with pytest.raises(InputError, match=r"positions must have shape \(2, 3\), got \(6,\)"):
        descriptor.jvp(hydrogen(), np.zeros(6))
    with pytest.raises(InputError, match=r"positions must have shape \(2, 3\), got \(3, 3\)"):
        descriptor.jvp(hydrogen(), np.zeros((3, 3)))
    with pytest.raises(InputError, match=r"strain must have shape \(1, 3, 3\), got \(3, 3\)"):
        descriptor.jvp(hydrogen(), strain=np.eye(3))
    for value in (np.zeros((2, 3), dtype=complex), "a", [["x"] * 3] * 2):
        with pytest.raises(InputTypeError, match="positions must hold real numbers"):
            descriptor.jvp(hydrogen(), value)
    with pytest.raises(InputTypeError, match="strain must hold real numbers"):
        descriptor.jvp(hydrogen(), strain="a")


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "lil"])
def test_sparse_cotangents_of_any_layout_are_taken(layout):
    soap = make()
    X = soap.transform(hydrogen())
    expected = soap.vjp(hydrogen(), X).positions
    assert np.array_equal(soap.vjp(hydrogen(), sp.csr_array(X).asformat(layout)).positions, expected)


@pytest.mark.parametrize("value", [-1.0, np.nan, -np.inf])
def test_radial_functions_need_distances_of_zero_or_more(value):
    with pytest.raises(InputError, match="distances must not be negative, got"):
        make().radial_functions([1.0, value])


def test_radial_functions_need_a_list_of_distances():
    with pytest.raises(InputError, match="distances must have shape"):
        make().radial_functions([[1.0]])


# ---------------------------------------------------------------- memory


def test_a_cutoff_that_sees_too_many_images_is_refused_with_the_figure(cls):
    descriptor = make(cls, cutoff=1e4, sigma=200.0)
    with pytest.raises(MemoryLimitError, match=r"GiB; available .* GiB; use a smaller cutoff"):
        descriptor.transform(bulk("Si"))


@pytest.mark.parametrize("options", [{"cutoff": 1e11}, {"sigma": 1e-12}], ids=str)
def test_a_radial_table_that_would_take_forever_is_refused_with_the_figure(options):
    """A cutoff of many widths sigma needs a knot for each of them."""
    with pytest.raises(MemoryLimitError, match=r"needs .*e\+1\d nodes .*GiB; available .* use a larger sigma"):
        make(**options).transform(hydrogen())


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr(_core, "available_memory", lambda: 3000.0)
    monkeypatch.setattr(_memory, "_ALWAYS_FITS", 0)


def frames_for(cls):
    return [hydrogen() for _ in range(400)]


@pytest.mark.usefixtures("little_memory")
def test_a_feature_matrix_that_cannot_fit_is_refused_with_the_figure(cls):
    descriptor = make(cls, species=["H"])
    n_features = len(descriptor.get_feature_names_out())
    message = rf"800 x {n_features} feature matrix would take .*KiB, but only 2.9 KiB of memory are available; .*sparse"
    with pytest.raises(MemoryLimitError, match=message) as caught:
        descriptor.transform(frames_for(cls))
    assert isinstance(caught.value, MemoryError)
    with pytest.raises(MemoryLimitError, match=rf"800 x {n_features} .* would take .*KiB, but only 2.9 KiB"):
        descriptor.jvp(frames_for(cls))


@pytest.mark.usefixtures("little_memory")
def test_a_jacobian_that_cannot_fit_is_refused_with_the_figure_and_a_pointer_to_vjp(cls):
    descriptor = make(cls, species=["H"])
    with pytest.raises(MemoryLimitError, match=r"the Jacobian would take .*iB, but only 2.9 KiB .*; use vjp or jvp"):
        descriptor.jacobian(frames_for(cls))
    # An estimate costs nothing, and vjp needs no memory for a Jacobian.
    estimate = descriptor.estimate_memory(frames_for(cls))
    assert estimate.jacobian + estimate.strain > 3000


def test_a_dense_jacobian_that_cannot_fit_is_refused_with_the_figure(cls, monkeypatch):
    J = make(cls, species=["H"]).jacobian(frames_for(cls))
    monkeypatch.setattr(_core, "available_memory", lambda: float(J.nbytes))
    monkeypatch.setattr(_memory, "_ALWAYS_FITS", 0)
    with pytest.raises(MemoryLimitError, match=r"the dense Jacobian would take .*iB.*work with J.groups"):
        J.to_dense()


# ---------------------------------------------------------------- the errors themselves


def test_every_error_is_a_castile_error_and_the_built_in_one():
    expected = {
        "InputError": ValueError,
        "InputTypeError": TypeError,
        "UnknownSpeciesError": KeyError,
        "MemoryLimitError": MemoryError,
        "NotFittedError": ValueError,
        "FileReadError": OSError,
        "FileWriteError": OSError,
        "MissingPackageError": ImportError,
    }
    assert set(errors.__all__) - {"CastileError"} == set(expected)
    for name, base in expected.items():
        assert issubclass(getattr(errors, name), (base,))
        assert issubclass(getattr(errors, name), errors.CastileError)


def test_the_core_refuses_arrays_that_python_would_not_send():
    """The compiled layer checks again, so that no call can read out of bounds."""
    parameters = core_parameters(castile.SOAP(cutoff=3.0, n_max=2, l_max=1), ("Si",), Learned())
    descriptor = _core.DensityDescriptor(parameters)
    cells, pbc = np.zeros((1, 3, 3)), np.zeros((1, 3), dtype=bool)
    offsets = np.array([0, 2])

    def structures(species=(0, 0)):
        return _core.Structures(np.eye(3)[:2].copy(), np.array(species, dtype=np.int32), cells, pbc, offsets)

    def centers(*atoms, **options):
        return _core.Centers(np.array(atoms), np.array([0, len(atoms)]), **options)

    with pytest.raises(InputError, match="center 2 of frame 0 is not one of its 2 atoms"):
        descriptor.transform(structures(), centers(2))
    with pytest.raises(InputError, match="center -1 of frame 0 is not one of its 2 atoms"):
        descriptor.transform(structures(), centers(-1))
    with pytest.raises(InputError, match="center offsets must start at 0 and never fall"):
        _core.Centers(np.array([0]), np.array([1, 1]))
    with pytest.raises(InputError, match="centers must be those of the structures"):
        descriptor.transform(structures(), _core.Centers(np.array([0]), np.array([0, 1, 1])))
    with pytest.raises(InputError, match="center points must have shape"):
        centers(-1, points=np.zeros((2, 3)))
    with pytest.raises(InputError, match="center points must be finite"):
        centers(-1, points=np.full((1, 3), np.inf))
    with pytest.raises(InputError, match="row offsets must end at the number of centers"):
        centers(0, 1, row_offsets=np.array([0, 1]))
    with pytest.raises(InputError, match="the centers of a row must be of one frame"):
        _core.Centers(np.array([0, 0]), np.array([0, 1, 2]), row_offsets=np.array([0, 2]))
    with pytest.raises(InputError, match="species must lie between 0 and n_species - 1"):
        descriptor.transform(structures((0, 1)), centers(0))
    with pytest.raises(InputError, match="cotangent must have shape"):
        descriptor.vjp(structures(), centers(0), np.zeros((2, 1)))
    with pytest.raises(TypeError, match="incompatible constructor arguments"):
        _core.Centers(np.array([0.0]), np.array([0, 1]))
    with pytest.raises(InputError, match="there is no descriptor"):
        _core.DensityDescriptor({**parameters, "kind": "nothing"})
    with pytest.raises(InputError, match="the parameters lack kind"):
        _core.DensityDescriptor({name: value for name, value in parameters.items() if name != "kind"})


@pytest.mark.usefixtures("little_memory")
def test_sparse_rows_that_cannot_fit_are_refused_with_the_figure(cls):
    with pytest.raises(MemoryLimitError, match=r"the rest of the 800 sparse rows would take .*iB, but only 2.9 KiB"):
        make(cls, species=["H"], sparse=True).transform(frames_for(cls))


# ---------------------------------------------------------------- values inside of arguments


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_tangents_and_cotangents_must_be_finite(value):
    soap = castile.SOAP(cutoff=3.0, n_max=2, l_max=1, species=["H", "O"])
    atoms = molecule("H2O")
    cotangent = np.ones_like(soap.transform(atoms))
    cotangent[1, 2] = value
    with pytest.raises(InputError, match=rf"cotangent must be finite, but cotangent\[1, 2\] is {value}"):
        soap.vjp(atoms, cotangent)
    with pytest.raises(InputError, match="cotangent must be finite"):
        soap.vjp(atoms, sp.csr_array(cotangent))
    with pytest.raises(InputError, match=r"positions must be finite, but positions\[0, 0\]"):
        soap.jvp(atoms, np.full((3, 3), value))
    huge = np.full((3, cotangent.shape[1]), 1e307)  # whose sum alone overflows
    assert soap.vjp(atoms, huge).positions.shape == (3, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cutoff": {"H": 2.0, "O": 3.0, "Xx": 1.0}}, r"cutoff must have chemical symbols for keys, got \['Xx'\]"),
        ({"sigma": {"H": 0.4, "O": 0.5, 8: 0.5}}, r"sigma must have chemical symbols for keys, got \[8\]"),
        ({"species_weights": {"H": 1.0, "O": 1.0, "Zz": 3.0}}, r"species_weights must have .* got \['Zz'\]"),
    ],
)
def test_keys_that_are_no_element_are_refused(options, message):
    soap = castile.SOAP(n_max=2, l_max=1, species=["H", "O"], **options)
    with pytest.raises(InputError, match=message):
        soap.transform(molecule("H2O"))


def test_targets_must_be_a_sequence():
    with pytest.raises(InputTypeError, match="y must be a sequence of targets, got 3"):
        castile.SOAP(n_max=2, l_max=1).fit_transform([molecule("H2O")], y=3)


def test_flags_of_models_and_kernels_are_no_words():
    rows = np.eye(3)
    for name in ("normalize", "loo"):
        with pytest.raises(InputTypeError, match=f"{name} must be True or False, got 'no'"):
            castile.KernelRidge(**{name: "no"}).fit(rows, [1.0, 2.0, 3.0])
    with pytest.raises(InputTypeError, match="normalize must be True or False, got 'no'"):
        castile.kernels.soap_kernel(rows, normalize="no")
    with pytest.raises(InputTypeError, match="kernel_params must be None or a dict of arguments, got 5"):
        castile.KernelRidge(kernel=np.dot, kernel_params=5).fit(rows, [1.0, 2.0, 3.0])


def test_a_precomputed_kernel_must_be_symmetric():
    model = castile.KernelRidge(kernel="precomputed")
    with pytest.raises(InputError, match="symmetric kernel matrix"):
        model.fit([[1.0, 5.0], [0.0, 1.0]], [1.0, 2.0])
    model.fit([[1.0, 0.5], [0.5 + 1e-8, 1.0]], [1.0, 2.0])


def test_cells_that_only_overflow_are_judged_by_their_directions():
    flat = Atoms("H", cell=1e80 * np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1]]), pbc=True)
    with pytest.raises(InputError, match="periodic cell vectors of frame 0 span no volume"):
        castile.SOAP(n_max=2, l_max=1).fit(flat)
    castile.structures.as_structure_arrays(Atoms("H", cell=np.eye(3) * 1e-100, pbc=True))
