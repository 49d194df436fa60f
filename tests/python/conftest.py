"""Named structures for every test: ask for ``structure``, or for one by its name. Formats of features on disk."""

import os

import pytest
from named_structures import STRUCTURES, several_frames
from stream_cases import ENDINGS, PACKAGES


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


@pytest.fixture(params=list(ENDINGS))
def kind(request):
    """Each format of features on disk whose package is installed."""
    pytest.importorskip(PACKAGES[request.param])
    return request.param


@pytest.fixture
def path(tmp_path, kind):
    """A file of that format."""
    return tmp_path / f"features{ENDINGS[kind]}"


@pytest.fixture
def no_sync(monkeypatch):
    """Do not wait for the disk, which only a power failure would show."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
