import io
import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse

from castile.errors import InputError
from castile.plots import feature_map, parity_plot


def png(ax):
    """Draw for real, as labels are laid out only then."""
    file = io.BytesIO()
    ax.figure.savefig(file, format="png")
    return file.getvalue()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_parity_plot_prints_the_errors_it_shows():
    ax = parity_plot([1.0, 2.0, 3.0], [1.5, 2.0, 2.0], unit="GPa", quantity="stress")
    text = ax.texts[0].get_text()
    assert "MAE 0.500 GPa" in text
    assert "RMSE 0.645 GPa" in text  # sqrt(1.25 / 3)
    assert ax.get_xlabel() == "reference stress (GPa)"
    assert ax.get_ylabel() == "predicted stress (GPa)"
    assert png(ax).startswith(b"\x89PNG")


def test_small_energy_errors_are_printed_in_mev():
    ax = parity_plot([0.0, 1.0], [0.01, 0.99])
    assert "MAE 10.0 meV/atom" in ax.texts[0].get_text()


def test_both_axes_of_a_parity_plot_agree(rng):
    ax = parity_plot(rng.normal(size=30), rng.normal(size=30))
    png(ax)
    assert ax.get_xlim() == ax.get_ylim()
    assert np.array_equal(ax.get_xticks(), ax.get_yticks())


def test_every_group_has_its_line_in_the_legend(rng):
    groups = np.repeat(["bulk", "slab", "molecule"], 10)
    ax = parity_plot(rng.normal(size=30), rng.normal(size=30), groups)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["bulk", "slab", "molecule"]
    colors = {tuple(points.get_facecolor()[0]) for points in ax.collections}
    assert len(colors) == 3


@pytest.mark.parametrize("n", [20, 25, 48])
def test_more_groups_than_colors_still_differ(rng, n):
    ax = parity_plot(rng.normal(size=2 * n), rng.normal(size=2 * n), np.repeat(np.arange(n), 2))
    looks = {(tuple(points.get_facecolor()[0]), points.get_paths()[0].vertices.tobytes()) for points in ax.collections}
    assert len(looks) == n


def inside(figure, artist):
    box, page = artist.get_window_extent(), figure.bbox
    return box.x0 >= 0 and box.y0 >= 0 and box.x1 <= page.x1 + 1 and box.y1 <= page.y1 + 1


@pytest.mark.parametrize("draw", [parity_plot, feature_map], ids=lambda draw: draw.__name__)
@pytest.mark.parametrize("n", [3, 10, 11, 25, 48])
@pytest.mark.parametrize("name", ["{}", "surface {} of a structure with a name that is much too long"])
def test_a_long_legend_stands_beside_the_axes_and_leaves_them_their_size(rng, draw, n, name):
    groups = np.repeat([name.format(i) for i in range(n)], 3)
    features = rng.normal(size=(3 * n, 4))
    ax = feature_map(features, groups=groups) if draw is feature_map else draw(features[:, 0], features[:, 1], groups)
    png(ax)
    legend, box = ax.get_legend(), ax.get_window_extent()
    names = [text.get_text() for text in legend.get_texts()]
    assert len(names) == n
    assert all(len(text) <= 26 and group.startswith(text[:-1]) for text, group in zip(names, groups[::3], strict=True))
    for handle, points in zip(legend.legend_handles, ax.collections, strict=True):
        assert np.array_equal(handle.get_facecolor(), points.get_facecolor())
    assert inside(ax.figure, ax.xaxis.label)
    assert inside(ax.figure, ax.yaxis.label)
    if n > 10:
        assert inside(ax.figure, legend)
        assert legend.get_window_extent().x0 >= box.x1
        assert box.height > 0.75 * ax.figure.bbox.height
        assert box.width > 0.75 * box.height


def test_a_legend_that_could_not_tell_the_groups_apart_is_a_note(rng):
    features, groups = rng.normal(size=(98, 3)), np.repeat(np.arange(49), 2)
    plots = [
        (parity_plot(features[:, 0], features[:, 1], groups), 49),
        (feature_map(features, groups=groups), 49),
        (feature_map(features, features[:, 0], groups // 5, label="energy (eV)"), 10),  # colors show the values
    ]
    for ax, n in plots:
        png(ax)
        assert ax.get_legend() is None
        assert ax.get_title(loc="left") == f"{n} groups, more than a legend can tell apart"
        assert inside(ax.figure, ax.yaxis.label)


def test_equal_values_can_be_drawn():
    png(parity_plot([2.0, 2.0], [2.0, 2.0]))
    png(feature_map(np.ones((3, 4))))


def test_feature_map_draws_the_leading_principal_components(rng):
    features = rng.normal(size=(50, 6)) * [5.0, 3.0, 0.1, 0.1, 0.1, 0.1]
    ax = feature_map(features)
    points = ax.collections[0].get_offsets()
    centered = features - features.mean(axis=0)
    values, vectors = np.linalg.eigh(centered.T @ centered)
    for column, k in ((0, -1), (1, -2)):
        expected = centered @ vectors[:, k]
        found = np.asarray(points[:, column])
        np.testing.assert_allclose(found * np.sign(found @ expected), expected, atol=1e-12)
        share = 100 * values[k] / values.sum()
        assert f"{share:.0f} % of variance" in (ax.get_xlabel(), ax.get_ylabel())[column]


def test_feature_map_of_a_sparse_matrix_is_that_of_the_dense(rng):
    features = rng.normal(size=(20, 5))
    dense, other = (feature_map(rows).collections[0].get_offsets() for rows in (features, sparse.csr_array(features)))
    np.testing.assert_array_equal(dense, other)


def test_colors_of_all_groups_share_one_scale(rng):
    values = np.arange(20.0)
    ax = feature_map(rng.normal(size=(20, 3)), values, np.repeat(["a", "b"], 10), label="energy (eV)")
    assert {points.get_clim() for points in ax.collections} == {(0.0, 19.0)}
    assert [axes.get_ylabel() for axes in ax.figure.axes] == [ax.get_ylabel(), "energy (eV)"]
    png(ax)


def test_given_axes_are_used(rng):
    from matplotlib.figure import Figure

    axes = Figure().subplots(1, 2)
    assert parity_plot([1.0, 2.0], [1.0, 2.0], ax=axes[0]) is axes[0]
    assert feature_map(rng.normal(size=(5, 3)), ax=axes[1]) is axes[1]
    png(axes[0])


def test_pyplot_is_never_imported():
    # In a process of its own, as other libraries import it.
    code = "import sys; from castile import plots; ax = plots.parity_plot([1.0, 2.0], [1.0, 2.0]); "
    code += "ax.figure.canvas.draw(); sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: parity_plot([1.0], [1.0, 2.0]), "predicted must have as many values"),
        (lambda: parity_plot([], []), "reference must hold at least one"),
        (lambda: parity_plot([1.0, np.nan], [1.0, 2.0]), r"reference\[1\] is not finite"),
        (lambda: parity_plot([1.0, 2.0], [1.0, 2.0], groups=["a"]), "groups must hold one label per point"),
        (lambda: feature_map(np.ones((1, 5))), "at least two rows"),
        (lambda: feature_map(np.ones((3, 5)), values=[1.0]), "values must hold one number per row"),
        (lambda: feature_map([[1.0, np.inf], [0.0, 1.0]]), "features must be finite"),
    ],
)
def test_bad_input_is_named(draw, message):
    with pytest.raises(InputError, match=message):
        draw()
