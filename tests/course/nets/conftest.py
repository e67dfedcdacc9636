"""The shipped model twice: the libraries' networks, and ours with the same weights."""

from __future__ import annotations

import pytest

from course.components import load_components
from course.emoji import folder
from course.nets import load


@pytest.fixture(scope="session")
def theirs():
    return load_components("emoji", device="cpu")


@pytest.fixture(scope="session")
def ours():
    return load("emoji")


@pytest.fixture(scope="session")
def tiny():
    """The light autoencoder: theirs, ours."""
    where = folder() / "vae_tiny"
    return load_components("emoji", device="cpu", vae=where).vae, load("emoji", vae=where).vae
