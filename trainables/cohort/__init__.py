"""Cohorts of paired images: found, checked and made ready to learn from."""

from trainables.cohort.config import CohortConfig
from trainables.cohort.layout import Cohort, Problem, Subject, find_cohort
from trainables.cohort.prepare import PreparedCohort, PreparedSubject, prepare
from trainables.cohort.single import PreparedVolume, prepare_volume, write_volume

__all__ = [
    "Cohort",
    "CohortConfig",
    "PreparedCohort",
    "PreparedSubject",
    "PreparedVolume",
    "Problem",
    "Subject",
    "find_cohort",
    "prepare",
    "prepare_volume",
    "write_volume",
]
