"""Names and what they stand for, when several change them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mme_hosting.models.table import KEPT, Alias, Removal, Table, merge

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NAMES = st.sampled_from(["a", "b", "a/b", "c"])
KEYS = st.sampled_from([f"a/{n}-0123456789ab.tar.gz" for n in range(1, 5)])
TIMES = st.integers(0, 3).map(lambda seconds: NOW + timedelta(seconds=seconds))
ALIASES = st.builds(Alias, current=KEYS, previous=st.lists(KEYS).map(tuple), changed=TIMES)
REMOVALS = st.builds(Removal, changed=TIMES, done=st.booleans())
CHANGES = st.dictionaries(NAMES, st.none() | ALIASES | REMOVALS)


@st.composite
def tables(draw) -> Table:
    models = draw(st.dictionaries(NAMES, ALIASES))
    removed = draw(st.dictionaries(NAMES, REMOVALS))
    return Table(models=models, removed={n: each for n, each in removed.items() if n not in models})


@given(tables(), CHANGES)
def test_alone_all_is_as_wanted(base: Table, changes) -> None:
    merged, lost = merge(base, base, changes)
    assert not lost
    for name, wanted in changes.items():
        found = merged.state(name)
        assert type(found) is type(wanted)
        if isinstance(wanted, Alias):
            assert found.current == wanted.current
    for name in {*base.models, *base.removed} - changes.keys():
        assert merged.state(name) == base.state(name)
    assert not merged.models.keys() & merged.removed.keys()


@given(tables(), CHANGES)
def test_twice_is_once(base: Table, changes) -> None:
    merged, _ = merge(base, base, changes)
    assert merge(base, merged, changes) == (merged, {})


@given(tables(), st.data())
def test_changes_of_different_names_meet_in_any_order(base: Table, data) -> None:
    both = data.draw(CHANGES)
    ours = {name: both[name] for name in both if data.draw(st.booleans())}
    theirs = {name: both[name] for name in both if name not in ours}
    first, _ = merge(base, base, ours)
    second, _ = merge(base, base, theirs)
    assert merge(base, first, theirs) == merge(base, second, ours)
    assert merge(base, first, theirs) == merge(base, base, both)


@given(tables(), CHANGES, CHANGES)
def test_theirs_stays_and_who_loses_is_told(base: Table, theirs, ours) -> None:
    found, _ = merge(base, base, theirs)
    merged, lost = merge(base, found, ours)
    for name in theirs:
        assert merged.state(name) == found.state(name) or found.state(name) == base.state(name)
    for name, wanted in ours.items():
        if name in lost:
            assert lost[name] == merged.state(name) == found.state(name)
        elif isinstance(wanted, Alias):
            assert merged.state(name).current == wanted.current
        else:
            assert type(merged.state(name)) is type(wanted)
    assert lost.keys() <= theirs.keys() & ours.keys()


@given(st.lists(KEYS, min_size=1, max_size=30))
def test_a_rollback_undoes_an_update(history: list[str]) -> None:
    alias = Alias(current="a/9-0123456789ab.tar.gz", changed=NOW)
    for key in history:
        if key == alias.current:
            continue
        later = alias.updated(key, NOW)
        assert len(later.previous) <= KEPT
        assert len(set(later.previous)) == len(later.previous)
        assert later.current not in later.previous
        back = later.rolled_back(later.previous[0], NOW)
        assert back.current == alias.current
        assert back.previous == tuple(each for each in alias.previous if each != key)
        alias = later


@pytest.mark.parametrize(
    ("to", "previous"), [("3", ("2", "1")), ("1", ()), ("5", ("4", "3", "2", "1"))]
)
def test_a_rollback_forgets_what_came_after(to: str, previous) -> None:
    alias = Alias(current="4", previous=("3", "2", "1"), changed=NOW)
    assert alias.rolled_back(to, NOW) == Alias(current=to, previous=previous, changed=NOW)


def test_a_removal_is_forgotten_after_a_day() -> None:
    removed = {
        "old": Removal(changed=NOW - timedelta(days=2), done=True),
        "half": Removal(changed=NOW - timedelta(days=2)),
        "new": Removal(changed=NOW, done=True),
    }
    assert list(Table(removed=removed).old_removals(NOW)) == ["old"]
