"""What the benchmarks say is right where it can be known: shares by hand, equal outcomes of both candidates."""

from pathlib import Path

import numpy as np
import pytest
import torch

from study.record.events import TrialSpec
from study.record.state import Attempt, StudyState, Trial, TrialState
from study.settings.reading import load_config
from tests.benchmarks import bench_gpu, bench_scoring
from tests.benchmarks.bench_data import prepare_in_a_loop
from tests.benchmarks.bench_sweep import efficiency
from tests.benchmarks.table import Row, ratio
from trainables.cohort import CohortConfig, find_cohort, prepare
from trainables.cohort.virtual import VirtualCohortConfig, simulate_cohort
from trainables.meter import Cost
from trainables.metrics import score_volume


def trial(key: str, started: float, ended: float, setup: float, train: float, evaluation: float) -> Trial:
    cost = Cost(
        setup_seconds=setup, train_seconds=train, eval_seconds=evaluation, device_seconds=ended - started,
        cpu_seconds=0.0, peak_bytes=0,
    )  # fmt: skip
    complete = TrialState.COMPLETE
    attempt = Attempt(number=1, started=started, ended=ended, share=1.0, state=complete, cost=cost)
    return Trial(spec=TrialSpec(key=key, arm="a", role="single", seed=0), state=complete, attempts=[attempt])


def test_the_losses_of_two_workers_by_hand():
    trials = [
        trial("a", 100, 140, 10, 20, 8),  # 2 s of nothing inside
        trial("b", 104, 150, 6, 30, 10),  # begins 4 s late
        trial("c", 141, 200, 1, 50, 8),  # after a gap of 1 s
        trial("d", 150, 180, 0, 25, 5),  # then a tail of 20 s
    ]
    shares = efficiency(StudyState(trials={one.key: one for one in trials}))
    expected = {"busy": 156, "start-up": 10 + 4 + 6, "set-up": 1, "gaps": 1, "tail": 20, "inside": 2}
    assert shares.pop("makespan_seconds") == 100
    assert shares == pytest.approx({name: seconds / 200 for name, seconds in expected.items()})


def test_ratios_are_paired_and_goals_have_a_direction():
    assert ratio({"a": [1, 20, 3], "b": [2, 10, 3]}, "a", "b") == 1.0
    assert Row(what="", value=2.0, at_most=1.4).met is False
    assert Row(what="", value=2.0, at_least=1.4).met is True
    assert Row(what="", value=None, at_least=1.4).met is None


def test_a_loop_prepares_the_same_cohort(tmp_path: Path):
    config = CohortConfig()
    root = simulate_cohort(tmp_path / "cohort", VirtualCohortConfig(num_subjects=3, resolution=8), num_workers=1)
    ours = prepare(find_cohort(root, config), config, tmp_path / "cache")
    prepare_in_a_loop(root, tmp_path / "loop")
    loop = {name: np.load(tmp_path / "loop" / f"{name}.npy") for name in ("source", "target", "mask", "lesion")}
    assert loop["mask"].sum() == ours.mask.sum()
    assert loop["lesion"].sum() == (ours.lesion.sum() if ours.lesion is not None else 0)
    for name in ("source", "target"):
        array = getattr(ours, name)
        assert loop[name].shape == array.shape
        assert loop[name][loop["mask"]].sum(dtype=float) == pytest.approx(array[ours.mask].sum(dtype=float), rel=1e-6)


def test_both_score_alike():
    (volumes,) = bench_scoring.make_volumes((14, 19, 23), 1)
    scores = score_volume(*map(torch.from_numpy, volumes))
    assert bench_scoring.largest_difference(scores, bench_scoring.scikit_image(*volumes)) < 1e-5


def test_the_gpus_network_is_the_papers():
    config = load_config(preset="paper")
    assert config.training.network == bench_gpu.NETWORK
    assert config.training.batch_size == bench_gpu.BATCH_SIZE


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_its_rows_are_blank():
    assert all(row.value is None for row in bench_gpu.rows(quick=True))
