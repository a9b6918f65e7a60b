"""The one slice that stands for a subject in pictures."""

from trainables.cohort.prepared import PreparedCohort, PreparedSubject


def sample_slice(cohort: PreparedCohort, subject: PreparedSubject) -> int:
    """The slice that shows a subject: where its lesion is largest, else where its mask is."""
    rows = slice(subject.start, subject.stop)
    region = cohort.mask[rows]
    if cohort.lesion is not None and cohort.lesion[rows].any():
        region = cohort.lesion[rows]
    return int(region.sum(axis=(1, 2)).argmax())
