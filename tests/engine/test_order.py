"""Which worker trains what, where a trial is shorter than the start of a worker."""

import os
import time
from pathlib import Path

import pytest
from ray import tune

from study.engine.cluster import cluster
from study.engine.searcher import InOrder
from study.settings.reading import validate

NUM_TRIALS = 8


def trainable_of(folder: Path) -> type[tune.Trainable]:
    """Of workers that leave their process's number in a folder; the first starts at once, others after two seconds."""

    class Short(tune.Trainable):
        def setup(self, config):
            (folder / str(os.getpid())).touch()
            time.sleep(2 if config["number"] else 0)

        def reset_config(self, new_config):
            return True

        def step(self):
            time.sleep(0.5)
            return {"done": True}

        def save_checkpoint(self, checkpoint_dir):
            pass

        def load_checkpoint(self, checkpoint):
            pass

    return Short


@pytest.mark.slow
def test_a_worker_that_is_starting_keeps_its_trial(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "2")
    (tmp_path / "workers").mkdir()
    config = validate({"arms": {"cov": {}}, "resources": {"workers": 2, "gpus_per_trial": 0}}, "test")
    with cluster(config.resources, None):
        results = tune.Tuner(
            tune.with_resources(trainable_of(tmp_path / "workers"), {"cpu": 1}),
            param_space={"number": tune.grid_search(list(range(NUM_TRIALS)))},
            tune_config=tune.TuneConfig(scheduler=InOrder(), max_concurrent_trials=2, reuse_actors=True),
            run_config=tune.RunConfig(storage_path=str(tmp_path / "ray"), verbose=0),
        ).fit()
    assert [result.error for result in results] == [None] * NUM_TRIALS
    assert len(list((tmp_path / "workers").iterdir())) == 2
