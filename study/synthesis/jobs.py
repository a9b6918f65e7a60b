"""Which images a synthesis reads and writes, settled before anything is computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables.cohort import CohortConfig
from trainables.cohort.bids import find_sources
from trainables.cohort.single import check_name, is_nifti
from trainables.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Job:
    """One image to synthesise."""

    source: Path
    mask: Path | None
    out: Path


def find_jobs(source: Path, out: Path, *, mask: Path | None, force: bool, config: CohortConfig) -> list[Job]:
    """One job for a file; for a folder one for each image in it, under the same name in `out`.

    In a BIDS folder (with sub-* folders) these are the files that fit the study's `source_pattern`, each with the mask
    that fits `mask_pattern`.

    Args:
        source: a file or a folder.
        out: a file for a file, a folder for a folder.
        mask: of the file; for a plain folder a folder with masks of the same names.
        force: whether what is there may be replaced.
        config: of the study's cohort.

    Raises:
        UserError: there is no image, `out` doesn't fit or exists, or a mask is missing.
    """
    if source.is_dir():
        jobs = [
            Job(source=image, mask=of_image, out=out / image.relative_to(source))
            for image, of_image in _images(source, mask, config)
        ]
        if out.exists() and not out.is_dir():
            raise UserError(f"{out}: is a file, but {source} is a folder; give a folder for the results")
    else:
        if not source.exists():
            raise UserError(f"{source}: no such file; give a NIfTI file or a folder of them")
        if out.is_dir():
            raise UserError(f"{out}: is a folder, but {source} is a file; give the name of the file to write")
        if mask is not None and mask.is_dir():
            raise UserError(f"{mask}: is a folder, but {source} is a file; give its mask's file")
        check_name(out)
        jobs = [Job(source=source, mask=mask, out=out)]
    _check_places(jobs, force)
    return jobs


def _images(folder: Path, masks: Path | None, config: CohortConfig) -> list[tuple[Path, Path | None]]:
    if any(folder.glob("sub-*/")):
        if masks is not None:
            raise UserError(f"{masks}: {folder} is a BIDS folder, whose masks are found by name; leave --mask out")
        return find_sources(folder, config)
    images = [path for path in sorted(folder.iterdir()) if is_nifti(path) and not path.is_dir()]
    if not images:
        raise UserError(f"{folder}: holds no .nii or .nii.gz file and no sub-* folder; give a folder of images")
    if masks is None:
        return [(image, None) for image in images]
    if not masks.is_dir():
        raise UserError(f"{masks}: is not a folder, but {folder} is; give a folder with masks of the same names")
    for image in images:
        if not (masks / image.name).exists():
            raise UserError(f"{masks / image.name}: no such mask; give one for every image of {folder}, or none")
    return [(image, masks / image.name) for image in images]


def _check_places(jobs: Sequence[Job], force: bool) -> None:
    read = {path.resolve() for job in jobs for path in (job.source, job.mask) if path}
    there = [job.out for job in jobs if job.out.exists()]
    for path in there:
        if path.resolve() in read:
            raise UserError(f"{path}: would be written over an input; give another place")
    if there and not force:
        more = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
        raise UserError(f"{there[0]}: exists{more}; give another place, or --force to replace it")
