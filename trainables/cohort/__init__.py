"""Cohorts of paired images: found, checked and made ready to learn from.

`augment` (torch, MONAI) and `contact_sheet` (Pillow) are imported from their own modules.
"""

from trainables.cohort.check import CohortReport, check
from trainables.cohort.config import Augmentation, CohortConfig
from trainables.cohort.geometry import Geometry
from trainables.cohort.layout import find_cohort
from trainables.cohort.prepare import prepare
from trainables.cohort.prepared import PreparedCohort, PreparedSubject
from trainables.cohort.problems import Problem
from trainables.cohort.single import PreparedVolume, prepare_volume, write_volume
from trainables.cohort.subjects import Cohort, Subject

__all__ = [
    "Augmentation",
    "Cohort",
    "CohortConfig",
    "CohortReport",
    "Geometry",
    "PreparedCohort",
    "PreparedSubject",
    "PreparedVolume",
    "Problem",
    "Subject",
    "check",
    "find_cohort",
    "prepare",
    "prepare_volume",
    "write_volume",
]
