"""Divides subjects into train, validation and test: seeded, balanced over groups, each in one split."""

from collections.abc import Sequence

import numpy as np

from trainables.cohort.config import CohortConfig
from trainables.cohort.subjects import Subject
from trainables.cohort.tables import SPLITS
from trainables.errors import UserError

_SHARES = {"train": 0.6, "validation": 0.1, "test": 0.3}


def assign_splits(subjects: Sequence[Subject], config: CohortConfig) -> dict[str, str]:
    """The split of each subject's id; ids that are not needed are left out.

    A `split` that the cohort gives is kept (`num_*` then take so many of it); otherwise all are drawn.

    Raises:
        UserError: too few subjects, or one subject in two splits.
    """
    groups: dict[str, str] = {}
    given: dict[str, str | None] = {}
    for subject in subjects:
        groups.setdefault(subject.id, subject.group or "")
        if given.setdefault(subject.id, subject.split) != subject.split:
            raise UserError(f"{subject.id} is in two splits, {given[subject.id]} and {subject.split}; keep it in one")
    rng = np.random.default_rng(config.seed)
    ids = sorted(groups)
    shuffled = [ids[i] for i in rng.permutation(len(ids))]
    order = sorted(shuffled, key=lambda name: groups[name])
    wanted = {split: getattr(config, f"num_{split}") for split in SPLITS}
    if any(given.values()):
        return _take(order, given, wanted)
    return _draw(order, _counts(len(order), wanted))


def _take(order: list[str], given: dict[str, str | None], wanted: dict[str, int | None]) -> dict[str, str]:
    """The given splits, each cut down to the wanted number, evenly over the order (and so over groups)."""
    chosen: dict[str, str] = {}
    for split in SPLITS:
        names = [name for name in order if given[name] == split]
        asked = wanted[split]
        count = len(names) if asked is None else asked
        if not names:
            raise UserError(f"the split column names no subject for {split}; give it at least one, or drop the column")
        if count > len(names):
            raise UserError(f"num_{split} = {count}, but the split column names {len(names)}; lower num_{split}")
        picks = np.arange(count) * len(names) // count
        chosen |= {names[i]: split for i in picks}
    return chosen


def _counts(num_subjects: int, wanted: dict[str, int | None]) -> dict[str, int]:
    """How many subjects each split gets; open ones share what is left, at least one each."""
    fixed = sum(count for count in wanted.values() if count is not None)
    open_splits = [split for split in SPLITS if wanted[split] is None]
    left = num_subjects - fixed
    if left < len(open_splits):
        asked = ", ".join(f"num_{split} = {count}" for split, count in wanted.items() if count is not None)
        needed = fixed + len(open_splits)
        raise UserError(
            f"the cohort has {num_subjects} subjects, but {needed} are needed ({asked or 'one a split'}"
            f"{', one for each other split' if asked and open_splits else ''}); add subjects"
            f"{', or lower num_train, num_validation or num_test' if asked else ''}"
        )
    counts = {split: count for split, count in wanted.items() if count is not None}
    # The smallest share first, so that rounding never leaves it empty; the last open split takes the rest.
    for split in sorted(open_splits, key=lambda split: _SHARES[split]):
        rest = [other for other in open_splits if other not in counts]
        free = num_subjects - sum(counts.values())
        share = _SHARES[split] / sum(_SHARES[other] for other in rest)
        counts[split] = min(max(round(free * share), 1), free - len(rest) + 1)
    return counts


def _draw(order: list[str], counts: dict[str, int]) -> dict[str, str]:
    """Walks through the order and gives each subject to the split that lags most behind its share so far."""
    total = sum(counts.values())
    picks = np.arange(total) * len(order) // total
    used = dict.fromkeys(counts, 0)
    chosen: dict[str, str] = {}
    for step, index in enumerate(picks, 1):
        lag = {split: counts[split] * step / total - used[split] for split in SPLITS if used[split] < counts[split]}
        split = max(lag, key=lambda name: lag[name])
        used[split] += 1
        chosen[order[index]] = split
    return chosen
