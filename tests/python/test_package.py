"""The package as a whole: versions, public names, what importing it costs, types and documentation."""

import copy
import doctest
import importlib
import importlib.metadata
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import bulk, molecule

import castile
from castile import _core
from castile.structures import as_structure_arrays

ROOT = Path(__file__).parents[2]


def public_modules():
    """Names of all modules, private ones too: their doctests must run as well."""
    found = pkgutil.walk_packages(castile.__path__, "castile.")
    return ["castile", *sorted(m.name for m in found if not m.name.endswith("__main__"))]


@pytest.fixture(params=public_modules())
def module(request):
    try:
        return importlib.import_module(request.param)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("castile"):
            raise
        pytest.skip(f"{request.param} needs the optional {error.name}")


def test_the_version_is_the_same_everywhere():
    declared = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), flags=re.M)[1]
    assert castile.__version__ == _core.__version__ == declared
    try:
        installed = importlib.metadata.version("castile")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("castile is on the path but not installed")
    assert installed == declared


def test_the_changelog_knows_the_version():
    headings = re.findall(r"^## \[?([^\]\s]+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    assert castile.__version__ in headings


def order(name):
    """Constants, classes, then everything else, as ruff sorts them."""
    kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return kind, name


def test_all_is_sorted_and_every_name_is_there(module):
    names = getattr(module, "__all__", None)
    if names is None:
        assert module.__name__.split(".")[-1].startswith("_") or module.__name__.startswith("castile.cli"), (
            "a public module must say what is public"
        )
        return
    assert len(set(names)) == len(names)
    assert list(names) == sorted(names, key=order)
    assert [name for name in names if not hasattr(module, name)] == []


def test_the_package_exports_the_public_names_of_its_descriptors():
    from castile import descriptors

    exported = [name for name in descriptors.__all__ if name != "DESCRIPTORS"]
    assert set(exported) <= set(castile.__all__)


def test_public_names_have_docstrings(module):
    missing = []
    for name in getattr(module, "__all__", []):
        thing = getattr(module, name)
        if not (inspect.isclass(thing) or inspect.isroutine(thing)):
            continue
        if not inspect.getdoc(thing):
            missing.append(name)
        if inspect.isclass(thing):
            missing += [
                f"{name}.{method}"
                for method, value in vars(thing).items()
                if not method.startswith("_")
                and (inspect.isroutine(value) or isinstance(value, property))
                and not inspect.getdoc(value)
            ]
    assert missing == []


def test_examples_in_docstrings_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


def test_importing_castile_leaves_the_heavy_libraries_alone():
    script = "import sys, castile; print([m for m in ('torch', 'matplotlib', 'typer', 'pymatgen') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert result.stdout.strip() == "[]"
    assert result.stderr == ""


def test_modules_that_are_not_imported_at_once_are_reached_by_name():
    script = (
        "import sys, castile; "
        "names = ('data', 'datasets', 'io', 'layouts', 'plots', 'rotations'); "
        "assert not [name for name in names if f'castile.{name}' in sys.modules]; "
        "assert set(names) <= set(dir(castile)); "
        "assert castile.datasets.load and castile.io.read_frames and castile.plots.parity_plot; "
        "assert not hasattr(castile, 'nothing') and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
    with pytest.raises(AttributeError, match="module 'castile' has no attribute 'nothing'"):
        castile.nothing  # noqa: B018


def summaries():
    """Results that hold arrays, with what their summaries must tell."""
    frames = [bulk("NaCl", "rocksalt", 5.64), molecule("H2O")]
    soap = castile.SOAP(cutoff=3.0, n_max=2, l_max=1).fit(frames)
    jacobian, gradients = soap.jacobian(frames), soap.vjp(frames, soap.transform(frames))
    structures = as_structure_arrays(frames)
    yield jacobian, ["5 rows x 72 features by 5 atoms", "strain (5, 3, 3, 72)", "groups", "blocks of moving Na", "iB"]
    yield soap.jacobian(frames, strain=False), ["no strain"]
    yield jacobian.groups[0], [f"{len(jacobian.groups[0].row)} blocks of moving", "columns"]
    yield gradients, ["positions (5, 3)", "strain (2, 3, 3)"]
    yield soap.estimate_memory(frames), ["features 2.8 KiB", "jacobian", "strain 25.3 KiB"]
    yield structures, []


def test_results_that_hold_arrays_print_short_and_compare_without_an_error():
    for result, words in summaries():
        text = str(result)
        assert [word for word in words if word not in text] == [], text
        if words:
            assert repr(result) == text
            assert len(text) < 800
        assert result == result  # noqa: PLR0124
        assert result != copy.copy(result) or isinstance(result, castile.MemoryEstimate)


def test_types_are_part_of_the_package():
    package = Path(castile.__file__).parent
    assert (package / "py.typed").is_file()
    assert (package / "_core.pyi").is_file()


def test_errors_are_what_callers_expect_to_catch():
    errors = [getattr(castile, name) for name in castile.__all__ if name.endswith("Error")]
    assert all(issubclass(error, castile.CastileError) for error in errors)
    assert issubclass(castile.InputError, ValueError)
    assert issubclass(castile.InputTypeError, TypeError)
    assert issubclass(castile.MemoryLimitError, MemoryError)
