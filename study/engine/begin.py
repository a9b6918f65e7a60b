"""What a driver writes down before the first trial: what the study is, once, and that it drives it now."""

import os
from collections.abc import Sequence
from dataclasses import asdict

from search_spaces.arm import Arm
from study.engine.images import describe, save_reference
from study.engine.resources import Resources
from study.record.arms import describe_arm
from study.record.environment import git_revision, hardware, versions
from study.record.events import Document, DriverStarted, Note, StudyBegun
from study.record.record import Record
from study.settings.components import Components
from study.settings.schema import StudyConfig
from trainables.cohort import PreparedCohort
from trainables.errors import UserError
from trainables.proof import Code
from trainables.task import JSON


def begin(
    record: Record,
    config: StudyConfig,
    components: Components,
    arms: Sequence[Arm],
    cohort: PreparedCohort,
    resources: Resources,
    *,
    code: Code,
    taken_up: Document,
) -> None:
    """Writes what the study is, once; then what changed since, and that a driver has begun.

    Args:
        code: of this process.
        taken_up: keys of the configuration, edited since the last driver, that this one goes on with.

    Raises:
        UserError: the study was begun with other images.
    """
    driver = DriverStarted(
        pid=os.getpid(),
        workers=resources.workers,
        taken_up=taken_up,
        versions=versions(),
        hardware=hardware(resources.offered),
        git_revision=git_revision(),
        code=code,
    )
    images = describe(cohort)
    if not record.state.begun:
        save_reference(cohort, record.directory / "checkpoints")
        document = _document(config, components, arms, images, driver)
        record.append(StudyBegun(document={**document, "scans": cohort.scans}))
    elif (
        record.state.info.cohort.digest != images["digest"]
        or record.state.info.document.get("scans", cohort.scans) != cohort.scans
    ):
        raise UserError(
            f"{config.cohort.path or 'the virtual cohort'}: the images are not those that {record.directory.name} was "
            f"begun with; restore them, or start a new study with another --out."
        )
    note = components.changed_since(record.state.info.components)
    if note and note not in record.state.notes and not record.state.finished:
        record.append(Note(text=note))
    record.append(driver)


def _document(
    config: StudyConfig, components: Components, arms: Sequence[Arm], images: Document, driver: DriverStarted
) -> dict[str, JSON]:
    """What the first event says; its keys are those of `study.yaml`."""
    return {
        "name": config.name,
        "config": config.model_dump(mode="json"),
        "objective": f"val/{config.objective}",
        "goal": str(components.goals[config.objective]),
        "goals": {name: str(goal) for name, goal in components.goals.items()},
        "parts": dict(components.origins),
        "terms": list(config.terms),
        "arms": [describe_arm(arm) for arm in arms],
        "seeds": {"search": config.seed, "judged": list(config.seeds)},
        "cohort": images,
        "versions": driver.versions,
        "hardware": driver.hardware,
        "git_revision": driver.git_revision,
        "code": None if driver.code is None else asdict(driver.code),
    }
