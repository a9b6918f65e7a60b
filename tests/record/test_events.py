"""Every event of the union, as it goes through a line of the journal."""

import json
from collections.abc import Mapping
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from study.record.codec import KINDS, from_plain, to_plain
from study.record.events import Event

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.none() | st.booleans() | NUMBERS | st.text() | st.lists(st.integers(), max_size=2)


@pytest.fixture(scope="module", autouse=True)
def values_of_the_journal():
    """Mappings are dictionaries, and what is not finite is null in the journal; see `test_finite`."""
    st.register_type_strategy(float, NUMBERS)
    st.register_type_strategy(Mapping, dictionaries)


def dictionaries(mapping):
    """A small dictionary of the mapping's types; the values of a document are plain."""
    key, value = get_args(mapping)
    return st.dictionaries(
        st.from_type(key), st.from_type(value) if value in (str, float, float | None) else PLAIN, max_size=2
    )


def test_each_event_has_a_kind_of_its_own():
    assert len(KINDS) == len(get_args(Event))


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_comes_back_from_its_line(kind):
    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(event=st.from_type(KINDS[kind]))
    def comes_back(event):
        line = json.dumps(to_plain(event))
        again = from_plain(kind, json.loads(line))
        assert json.dumps(to_plain(again)) == line
        assert type(again) is type(event)

    comes_back()
