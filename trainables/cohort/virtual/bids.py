"""The folder of a virtual cohort: file names, writing without half files, and what is already there."""

import gzip
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.cohort.virtual.protocol import VirtualCohortConfig
from trainables.errors import UserError
from trainables.files import write_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainables.cohort.virtual.subject import VirtualSubject

GENERATOR = "cov-study virtual cohort"
GENERATOR_VERSION = "1"  # goes up when the same config gives other images
DESCRIPTION = "dataset_description.json"
PARTIAL = ".partial"
_README = """A virtual cohort: no person was imaged.

Every image here is a simulation of T1-weighted MRI early and late after contrast agent; every figure made from
it says so. dataset_description.json holds the whole config, *_parameters.json what was drawn for each subject.
"""
# Signal -> stored integer: white matter lies near 1000, and a spoiled gradient echo never exceeds 1.
_INTEGERS_PER_SIGNAL = 20_000


def image_names(label: str, agent: str) -> dict[str, str]:
    """`VirtualSubject`'s arrays -> their file names."""
    return {
        "early": f"{label}_acq-early_ce-{agent}_T1w.nii.gz",
        "delayed": f"{label}_acq-delayed_ce-{agent}_T1w.nii.gz",
        "brain": f"{label}_label-brain_mask.nii.gz",
        "lesion": f"{label}_label-lesion_mask.nii.gz",
    }


def claim(directory: Path, config: VirtualCohortConfig) -> None:
    """Marks a new or empty folder as this config's cohort, or checks that it is.

    Raises:
        UserError: it holds something else.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UserError(f"{directory} is a file: name a new or empty folder for the virtual cohort") from None
    path = directory / DESCRIPTION
    if path.exists():
        _check_same(path, config)
    elif any(directory.iterdir()):
        raise UserError(f"{directory} is not empty and holds no virtual cohort: name a new or empty folder")
    else:
        write_text(path, _json(_description(config)))


@contextmanager
def exclusive(directory: Path) -> Iterator[Path]:
    """A scratch folder inside `directory` while no other process writes there; it goes afterwards."""
    from filelock import FileLock

    scratch = directory / PARTIAL
    with FileLock(directory / ".lock"):  # stays: who waits for a lock that is deleted holds nothing
        shutil.rmtree(scratch, ignore_errors=True)  # a killed process left it
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def is_whole(folder: Path, agent: str) -> bool:
    """Whether a subject's files are all there and read through to their checksums."""
    try:
        json.loads((folder / "anat" / f"{folder.name}_parameters.json").read_bytes())
        for name in image_names(folder.name, agent).values():
            with gzip.open(folder / "anat" / name) as stream:
                while stream.read(1 << 20):
                    pass
    except (OSError, EOFError, zlib.error, ValueError):
        return False
    return True


def write_subject(directory: Path, label: str, agent: str, subject: "VirtualSubject") -> None:
    """Writes a subject's folder whole or not at all."""
    scratch = Path(tempfile.mkdtemp(dir=directory / PARTIAL))
    anat = scratch / label / "anat"
    anat.mkdir(parents=True)
    for field, name in image_names(label, agent).items():
        (anat / name).write_bytes(_nifti(getattr(subject, field), subject.affine))
    (anat / f"{label}_parameters.json").write_text(_json(subject.parameters), encoding="utf-8")
    target = directory / label
    if target.exists():
        shutil.rmtree(target)  # what is there is not whole
    os.replace(scratch / label, target)
    scratch.rmdir()


def write_tables(directory: Path, config: VirtualCohortConfig, rows: list[tuple[str, str, str]]) -> None:
    """What belongs to the whole cohort: README, image sidecars, participants (label, split, group)."""
    write_text(directory / "README", _README)
    sidecar = {
        "Modality": "MR",
        "MagneticFieldStrength": config.protocol.magnetic_field_tesla,
        "ScanningSequence": "GR",
        "RepetitionTimeExcitation": config.protocol.repetition_time_seconds,
        "FlipAngle": config.protocol.flip_angle_degrees,
        "ContrastBolusIngredient": "GADOLINIUM",
        "SkullStripped": True,
    }
    for phase in ("early", "delayed"):
        write_text(directory / f"acq-{phase}_ce-{config.protocol.agent}_T1w.json", _json(sidecar))
    lines = ["participant_id\tsplit\tgroup", *("\t".join(row) for row in rows)]
    write_text(directory / "participants.tsv", "\n".join(lines) + "\n")


def _description(config: VirtualCohortConfig) -> dict[str, Any]:
    return {
        "Name": "Virtual contrast-enhanced cohort (simulated)",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": GENERATOR, "Version": GENERATOR_VERSION}],
        "Simulated": True,
        "VirtualCohortConfig": config.model_dump(mode="json"),
    }


def _check_same(path: Path, config: VirtualCohortConfig) -> None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        generator = found["GeneratedBy"][0]
        name, version, written = generator["Name"], generator["Version"], found["VirtualCohortConfig"]
    except (ValueError, KeyError, IndexError, TypeError):
        raise UserError(f"{path} is not a virtual cohort's: name a new or empty folder") from None
    if (name, version) != (GENERATOR, GENERATOR_VERSION):
        raise UserError(
            f"{path} was written by {name} {version}, not {GENERATOR} {GENERATOR_VERSION}: name a new folder"
        )
    here, there = _flat(config.model_dump(mode="json")), _flat(written)
    for key in sorted(here.keys() | there.keys()):
        if here.get(key) != there.get(key):
            raise UserError(
                f"{path.parent} holds a virtual cohort with {key} {there.get(key)}, not {here.get(key)}: "
                "name a new folder or use the same config"
            )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        key: leaf
        for name, inner in value.items()
        for key, leaf in _flat(inner, f"{prefix}.{name}" if prefix else name).items()
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _nifti(values: "NDArray", affine: "NDArray") -> bytes:
    """A gzipped NIfTI-1 with no clock in it: images as int16, masks as uint8."""
    import nibabel
    import numpy as np

    if values.dtype == np.bool_:
        stored = values.astype(np.uint8)
    else:
        stored = np.clip(np.rint(values * _INTEGERS_PER_SIGNAL), 0, np.iinfo(np.int16).max).astype(np.int16)
    image = nibabel.Nifti1Image(stored, affine)
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"simulated: cov-study virtual cohort"
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)
