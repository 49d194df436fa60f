"""Named structures for every test: ask for ``structure``, or for one by its name."""

import pytest
from named_structures import STRUCTURES, several_frames


@pytest.fixture(params=list(STRUCTURES))
def structure(request):
    """Each named structure in turn."""
    return STRUCTURES[request.param]()


@pytest.fixture
def triclinic():
    return STRUCTURES["triclinic"]()


@pytest.fixture
def molecule():
    return STRUCTURES["molecule"]()


@pytest.fixture
def tiny_cell():
    return STRUCTURES["tiny_cell"]()


@pytest.fixture
def frames():
    """Several frames, of all kinds."""
    return several_frames()
