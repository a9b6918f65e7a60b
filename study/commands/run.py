"""`cov-study run` and `resume`: a study from its configuration to its report."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from study.commands.options import (
    Address,
    CohortPath,
    Config,
    Directory,
    Out,
    Override,
    Preset,
    read_config,
    read_tracking,
)
from study.commands.report import say_verdict

if TYPE_CHECKING:
    from study.report.build import Report
    from study.study import Study

FAILED_TRIALS, INTERRUPTED = 3, 130


def run(
    config: Config = None,
    preset: Preset = None,
    cohort: CohortPath = None,
    out: Out = None,
    address: Address = None,
    override: Override = None,
) -> None:
    """Run a study: every arm's trials, then the report."""
    settings = read_config(config, preset, cohort, override)
    from study.commands.progress import Progress
    from study.study import Study

    study = Study.create(out or Path("runs") / settings.name, settings)
    _drive(study, lambda: study.run(watcher=Progress(), tracking=read_tracking(), address=address))


def resume(directory: Directory, address: Address = None) -> None:
    """Go on where a study stopped, however it stopped."""
    from study.commands.progress import Progress
    from study.study import Study

    study = Study(directory)
    _drive(study, lambda: study.resume(watcher=Progress(), tracking=read_tracking(), address=address))


def _drive(study: "Study", go: "Callable[[], Report]") -> None:
    """Runs a study and says how it ended."""
    from study.engine.stopping import StudyInterrupted, StudyStopped

    try:
        report = go()
    except (StudyInterrupted, KeyboardInterrupt):
        begun = (study.directory / "journal.jsonl").exists()
        print(f"Interrupted.{f' Go on with: cov-study resume {study.directory}' if begun else ''}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except StudyStopped as stopped:
        print(f"cov-study: {stopped}. Make room or mend it, then: cov-study resume {study.directory}", file=sys.stderr)
        sys.exit(1)
    say_verdict(report)
    failed = [trial for trial in study.state.trials.values() if trial.state == "failed"]
    if failed:
        print(
            f"{len(failed)} trial(s) failed, for example {failed[0].key}: {failed[0].attempts[-1].reason}. "
            f"All of them: cov-study status {study.directory}",
            file=sys.stderr,
        )
        sys.exit(FAILED_TRIALS)
