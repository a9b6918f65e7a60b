"""A study that nothing happens to, beside those that are disturbed."""

from pathlib import Path

import pytest
from filelock import FileLock

from study.record.record import load_state
from study.record.state import StudyState
from tests.commands.command import cov_study
from tests.engine.disturbed import QUIET, RUN


@pytest.fixture
def quiet(tmp_path: Path) -> None:
    """Nothing is mirrored from this folder."""
    (tmp_path / "mlflow.yml").write_text(QUIET)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> StudyState:
    """What the study measures when nothing happens to it: run once, whichever test process comes first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "undisturbed"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            folder.mkdir()
            (folder / "mlflow.yml").write_text(QUIET)
            done = cov_study(*RUN, folder=folder)
            assert done.returncode == 0, done.stderr
    state = load_state(folder / "study")
    pruned = [trial for trial in state.trials.values() if trial.state == "pruned"]
    assert pruned, "a trial that falls behind is part of what must not change"
    assert all(trial.scores is None and 0 < len(trial.measurements) < 4 for trial in pruned)
    return state
