"""Splits: exact, disjoint, reproducible, balanced; each subject in one."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.cohort import CohortConfig, Subject
from trainables.cohort.splits import assign_splits
from trainables.errors import UserError


def _subjects(groups: list[str | None], splits: list[str | None] | None = None, num_scans: int = 1) -> list[Subject]:
    return [
        Subject(
            id=f"sub-{number:03d}",
            source=Path(f"{number}-{scan}-a"),
            target=Path(f"{number}-{scan}-b"),
            group=group,
            split=splits[number] if splits else None,
            scan=f"scan-{scan}",
        )
        for number, group in enumerate(groups)
        for scan in range(num_scans)
    ]


COUNTS = st.none() | st.integers(1, 12)


@given(
    num_subjects=st.integers(3, 60),
    num_groups=st.integers(1, 4),
    num_scans=st.integers(1, 3),
    asked=st.tuples(COUNTS, COUNTS, COUNTS),
    seed=st.integers(0, 1000),
)
def test_drawn_splits(
    num_subjects: int, num_groups: int, num_scans: int, asked: tuple[int | None, ...], seed: int
) -> None:
    config = CohortConfig(num_train=asked[0], num_validation=asked[1], num_test=asked[2], seed=seed)
    subjects = _subjects([f"g{i % num_groups}" for i in range(num_subjects)], num_scans=num_scans)
    if sum(count or 1 for count in asked) > num_subjects:
        with pytest.raises(UserError, match=f"the cohort has {num_subjects} subjects, but"):
            assign_splits(subjects, config)
        return
    splits = assign_splits(subjects, config)
    counts = Counter(splits.values())
    assert set(splits) <= {subject.id for subject in subjects}
    for split, count in zip(("train", "validation", "test"), asked, strict=True):
        assert counts[split] == count if count else counts[split] >= 1
    if None in asked:
        assert len(splits) == num_subjects
    # The same subjects in another order, and again: the same split.
    assert assign_splits(subjects[::-1], config) == splits


@given(sizes=st.lists(st.integers(4, 20), min_size=2, max_size=4), seed=st.integers(0, 50))
def test_groups_are_spread_evenly(sizes: list[int], seed: int) -> None:
    groups = [f"g{index}" for index, size in enumerate(sizes) for _ in range(size)]
    subjects = _subjects(groups)
    splits = assign_splits(subjects, CohortConfig(seed=seed))
    total = Counter(splits.values())
    for name, size in Counter(groups).items():
        here = Counter(splits[subject.id] for subject in subjects if subject.group == name)
        for split in total:
            assert abs(here[split] - total[split] * size / len(groups)) < 2


def test_shares_by_hand() -> None:
    counts = Counter(assign_splits(_subjects([None] * 80), CohortConfig()).values())
    assert counts == {"train": 48, "validation": 8, "test": 24}
    counts = Counter(assign_splits(_subjects([None] * 3), CohortConfig()).values())
    assert counts == {"train": 1, "validation": 1, "test": 1}
    # 10 of 30 are asked for; the rest is shared 60 to 30.
    counts = Counter(assign_splits(_subjects([None] * 30), CohortConfig(num_validation=10)).values())
    assert counts == {"train": 13, "validation": 10, "test": 7}


def test_another_seed_draws_another_split() -> None:
    subjects = _subjects([None] * 40)
    drawn = [assign_splits(subjects, CohortConfig(seed=seed)) for seed in range(3)]
    assert drawn[0] != drawn[1] != drawn[2]


def test_given_splits_are_kept_and_cut_down() -> None:
    given_splits = ["train"] * 6 + ["validation"] * 2 + ["test"] * 4
    subjects = _subjects([None] * 12, given_splits)
    kept = assign_splits(subjects, CohortConfig())
    assert [kept[subject.id] for subject in subjects] == given_splits
    fewer = assign_splits(subjects, CohortConfig(num_train=3, num_test=1))
    assert Counter(fewer.values()) == {"train": 3, "validation": 2, "test": 1}
    assert fewer.items() <= kept.items()
    with pytest.raises(UserError, match="num_test = 5, but the split column names 4; lower num_test"):
        assign_splits(subjects, CohortConfig(num_test=5))


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (["train", "train", "test"], "names no subject for validation"),
        (["train", "validation", "validation"], "names no subject for test"),
    ],
)
def test_given_splits_must_fill_all(splits: list[str | None], message: str) -> None:
    with pytest.raises(UserError, match=message):
        assign_splits(_subjects([None] * 3, splits), CohortConfig())


def test_one_subject_in_two_splits_is_refused() -> None:
    twice = [
        Subject(id="sub-1", source=Path(f"{split}-a"), target=Path(f"{split}-b"), split=split, scan=split)
        for split in ("train", "validation", "test")
    ]
    with pytest.raises(UserError, match="sub-1 is in two splits, train and validation"):
        assign_splits(twice, CohortConfig())


def test_too_few_subjects_say_what_is_needed() -> None:
    with pytest.raises(UserError, match=r"has 2 subjects, but 3 are needed \(one a split\); add subjects$"):
        assign_splits(_subjects([None] * 2), CohortConfig())
    with pytest.raises(UserError, match=r"but 6 are needed \(num_test = 4, one for each other split\); add.*or lower"):
        assign_splits(_subjects([None] * 5), CohortConfig(num_test=4))
