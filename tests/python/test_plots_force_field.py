import io

import numpy as np
import pytest

from castile import ForceField, data, datasets
from castile.errors import InputError
from castile.models.force_field import ErrorTable
from castile.models.force_field.compression import Candidate, CompressionTable
from castile.models.force_field.error_table import Residuals, residuals
from castile.plots import (
    compression,
    conservation,
    dimer_curves,
    energy_volume,
    errors_by_group,
    learning_curve,
    parity_density,
    parity_panels,
    phonon_bands,
)

GPA = 160.21766208


def png(drawn):
    """Draw for real, as labels are laid out only then."""
    file = io.BytesIO()
    figure = drawn if hasattr(drawn, "savefig") else drawn.figure
    figure.savefig(file, format="png")
    return file.getvalue()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def dataset():
    return data.read(datasets.load()[:24])


@pytest.fixture(scope="module")
def model(dataset):
    return ForceField(n_sparse=20, zeta=2.0, calibration=0.0).fit(dataset)


def table(groups, kinds=("energy", "force", "stress"), errors=None):
    rows = []
    for number, group in enumerate(["all", *groups]):
        for kind in kinds:
            rmse = 0.01 * (number + 1) if errors is None else errors[number]
            rows.append({"group": group, "quantity": kind, "n": 9, "mae": 0.8 * rmse, "rmse": rmse, "r2": 0.9})
    return ErrorTable(rows)


# ---------------------------------------------------------------------- parity


@pytest.mark.parametrize("n", [1, 400, 401, 5000])
def test_a_density_shows_all_points_and_the_errors(rng, n):
    x = rng.normal(size=n)
    ax = parity_density(x, x + 0.05)
    assert "MAE 50.0 meV/Å" in ax.texts[0].get_text()
    assert f"{n} points" in ax.texts[0].get_text()
    png(ax)
    assert ax.get_xlim() == ax.get_ylim()
    values = ax.collections[0].get_array()
    shown = len(ax.collections[0].get_offsets()) if n <= 400 else int(values.sum())
    assert shown == n


def test_every_kind_of_label_has_a_panel_with_its_unit(rng):
    kinds = ("energy", "force", "stress")
    found = [Residuals(kind, rng.normal(size=9), rng.normal(size=9), np.array(["a"] * 9)) for kind in kinds]
    figure = parity_panels(found, "nine frames")
    png(figure)
    labels = [ax.get_xlabel() for ax in figure.axes]
    assert labels == [
        "reference energy (eV/atom)",
        "reference force component (eV/Å)",
        "reference stress component (GPa)",
    ]
    np.testing.assert_allclose(figure.axes[2].collections[0].get_offsets()[:, 0], GPA * found[2].labels)


def test_panels_of_a_fit(model, dataset):
    assert png(parity_panels(residuals(dataset, model.predict(dataset.frames)))).startswith(b"\x89PNG")


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize("n", [0, 2, 20, 30])
def test_every_group_has_its_bar_and_of_many_the_worst_are_drawn(n):
    names = [f"group {k}" for k in range(n)]
    figure = errors_by_group(table(names))
    png(figure)
    assert len(figure.axes) == 3
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown == (names[-20:] if n else ["all"])
    assert figure.axes[0].patches[-1].get_width() == pytest.approx(1e3 * 0.01 * (n + 1))
    assert ("the worst 20 of 30 groups" in figure._suptitle.get_text()) == (n == 30)


def test_long_names_are_cut_and_missing_kinds_have_no_bar():
    whole = table(["a name that is too long to be shown in a picture", "short"])
    whole.rows[:] = [row for row in whole.rows if (row["group"], row["quantity"]) != ("short", "stress")]
    figure = errors_by_group(whole)
    png(figure)
    assert figure.axes[0].get_yticklabels()[0].get_text() == "a name that is too long t…"
    assert [bar.get_width() for bar in figure.axes[2].patches][1] == 0.0


@pytest.mark.parametrize("sizes", [[10], [10, 20, 40, 80], list(range(10, 200, 10))])
def test_a_learning_curve_has_a_line_for_mae_and_rmse(sizes):
    curve = [{"n_frames": n, "errors": table([], errors=[1.0 / n])} for n in reversed(sizes)]
    figure = learning_curve(curve)
    png(figure)
    rmse, mae = figure.axes[0].lines
    assert rmse.get_xdata().tolist() == sizes
    np.testing.assert_allclose(rmse.get_ydata(), [1e3 / n for n in sizes])
    np.testing.assert_allclose(mae.get_ydata(), [0.8e3 / n for n in sizes])
    assert [ax.get_ylabel() for ax in figure.axes][1] == "force component error (meV/Å)"


def test_a_learning_curve_of_the_library_is_drawn(dataset):
    curve = ForceField(n_sparse=20, zeta=2.0).learning_curve(
        dataset.subset(slice(0, 18)), dataset.subset(slice(18, 24))
    )
    figure = learning_curve(curve)
    png(figure)
    assert figure.axes[0].lines[0].get_xdata()[-1] == 18


# ---------------------------------------------------------------------- physics


def test_dimer_curves_are_energies_of_two_atoms(model):
    from ase import Atoms

    r = np.linspace(1.5, 5.0, 8)
    figure = dimer_curves(model, distances=r)
    png(figure)
    assert [ax.texts[0].get_text() for ax in figure.axes] == ["Al-Al", "Al-Si", "Al-P", "Si-Si", "Si-P", "P-P"]
    ax = figure.axes[2]
    curve = next(line for line in ax.lines if len(line.get_xdata()) == len(r))
    for k in (2, 5):
        two = model.predict([Atoms("AlP", [[0, 0, 0], [r[k], 0, 0]]), Atoms("Al"), Atoms("P")]).energy
        assert curve.get_ydata()[k] == pytest.approx(two[0] - two[1] - two[2], abs=1e-9)
    assert any(np.allclose(line.get_xdata(), model.foundation_.shortest[0, 2]) for line in ax.lines)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["repulsion joined", "shortest in training data"]


def test_one_pair_and_models_without_repulsion_are_drawn(dataset):
    plain = ForceField(n_sparse=10, zeta=2.0, repulsion=False, calibration=0.0).fit(dataset)
    figure = dimer_curves(plain, pairs=[("Si", "Si")])
    png(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["shortest in training data"]


def test_energy_against_volume_is_per_atom_above_the_minimum():
    volumes = np.linspace(18.0, 22.0, 5)
    energies = -5.0 + 0.01 * (volumes - 20.0) ** 2
    ax = energy_volume(volumes, energies, curve=(volumes, energies), minimum=(20.0, -5.0), bulk_modulus=98.7)
    png(ax)
    assert "98.7 GPa" in ax.texts[0].get_text()
    np.testing.assert_allclose(ax.collections[0].get_offsets()[:, 1], 10.0 * (volumes - 20.0) ** 2, atol=1e-9)
    png(energy_volume(volumes, energies))


@pytest.mark.parametrize("dos", [None, (np.linspace(0, 5, 9), np.ones(9))])
def test_phonon_bands_have_a_line_each(dos):
    bands = np.stack([np.linspace(-1, 1, 30), np.linspace(2, 3, 30)], axis=1)
    figure = phonon_bands(np.arange(30.0), bands, [(0.0, "Γ"), (29.0, "X")], dos=dos)
    png(figure)
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["Γ", "X"]
    assert sum(len(line.get_xdata()) == 30 for line in ax.lines) == 2
    assert ax.get_ylim()[0] < -1.0


def test_bands_are_not_joined_where_the_path_breaks():
    x = np.array([0.0, 1.0, 2.0, 2.0, 3.0])
    bands = np.array([[1.0, 2.0], [1.5, 2.5], [2.0, 3.0], [7.0, 8.0], [7.5, 8.5]])
    ax = phonon_bands(x, bands, [(0.0, "Γ"), (2.0, "K|U"), (3.0, "X")]).axes[0]
    drawn = [line.get_ydata().tolist() for line in ax.lines if line.get_color() == "#0072B2"]
    assert drawn == [[1.0, 1.5, 2.0], [2.0, 2.5, 3.0], [7.0, 7.5], [8.0, 8.5]]


def test_conservation_is_per_atom_and_from_the_start():
    ax = conservation([0.0, 0.1, 0.2], [5.0, 5.2, 5.0], [1.0, 0.0, 2.0], 4)
    png(ax)
    kinetic, total = ax.lines
    np.testing.assert_allclose(kinetic.get_ydata(), [0.0, -250.0, 250.0])
    np.testing.assert_allclose(total.get_ydata(), [0.0, 50.0, 0.0], atol=1e-9)


def test_a_compression_has_a_point_for_each_candidate_and_marks_the_chosen_one():
    candidates = [
        Candidate(f"number {k}", (), 100 - k, 30.0 - 5 * k, table([], errors=[0.1 + 0.01 * k])) for k in range(3)
    ]
    ax = compression(CompressionTable(candidates, candidates[1]))
    png(ax)
    points = [one.get_offsets()[0].tolist() for one in ax.collections]
    np.testing.assert_allclose(points, [[30.0, 80.0], [25.0, 88.0], [20.0, 96.0]])
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["1  number 0", "2  number 1, chosen", "3  number 2"]
    assert ax.get_ylabel() == "force error, held out (MAE, meV/Å)"


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: parity_density([1.0], [1.0, 2.0]), "predicted must have as many values"),
        (lambda: parity_panels([]), "residuals is empty"),
        (lambda: errors_by_group(ErrorTable([])), "table is empty"),
        (lambda: learning_curve([]), "curve holds no points"),
        (lambda: learning_curve([{"n_frames": 1, "errors": ErrorTable([])}]), "no errors of energies"),
        (lambda: compression(CompressionTable([], None)), "no candidates with errors"),
        (lambda: energy_volume([1.0], [1.0, 2.0]), "energies must have as many values"),
        (lambda: phonon_bands([1.0, 2.0], [[1.0]], []), "a row for each of 2 points"),
        (lambda: conservation([0.0, np.inf], [1.0, 1.0], [1.0, 1.0], 1), r"times\[1\] is not finite"),
    ],
)
def test_bad_input_is_named(draw, message):
    with pytest.raises(InputError, match=message):
        draw()


@pytest.mark.parametrize("pairs", [[("Si", "Fe")], [("Si",)], []])
def test_pairs_must_be_of_the_model(model, pairs):
    with pytest.raises(InputError, match="pairs"):
        dimer_curves(model, pairs=pairs)
