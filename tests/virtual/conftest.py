"""The template is read once for all tests."""

import pytest

from trainables.cohort.virtual.anatomy import Template, load_template


@pytest.fixture(scope="session")
def template() -> Template:
    """At 4 mm, where a subject takes a twentieth of a second."""
    return load_template(4.0)
