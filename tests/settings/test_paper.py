"""The preset `paper`: the abstract's design, and that it runs, made small."""

import json

import pytest

from study.settings.arms import make_arms
from study.settings.components import check_components
from study.settings.reading import PRESETS, load_config
from tests.commands.command import cov_study
from tests.planning.walk import make_plan

SMALL = (
    "cohort.virtual={num_subjects: 6, resolution: 8}",
    "training.network={name: unet, channels: [4, 8], strides: [2], norm: instance, num_res_units: 2}",
    "training.epochs=1",
    "training.batch_size=64",
    "seeds=[1]",
    "arms.tuned.budget.trials=2",
    "arms.tuned.replicates=1",
    *(f"arms.{arm}.seeds=1" for arm in ("single", "equal", "tuned", "cov", "cov-frozen", "inverse-initial", "random")),
)
OVERRIDES = tuple(word for key in SMALL for word in ("-o", key))


def test_it_is_the_design_of_the_abstract():
    config = load_config(preset="paper")
    splits, tuned = dict(config.cohort.virtual.splits()), config.arms["tuned"]
    assert splits["train"] + splits["validation"] == 56  # nothing that is tested on selects
    assert splits == {"train": 48, "validation": 8, "test": 24}
    assert (tuned.budget.trials, tuned.replicates, len(config.seeds)) == (40, 3, 5)
    assert {arm.seeds for arm in config.arms.values()} == {5}
    assert not set(config.seeds) & {config.seed + replicate for replicate in range(tuned.replicates)}
    # 4 single losses, equal, cov, cov-frozen and two siblings under 5 seeds each; 3 searches, each confirmed 5 times.
    assert make_plan(config).num_trials == 9 * 5 + 3 * (40 + 5)
    assert config.training.precision == "auto"
    check_components(config, make_arms(config))


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_line_of_a_preset_says_why(path):
    for line in path.read_text(encoding="utf-8").splitlines():
        assert not line or "# " in line or line.endswith(":"), line


@pytest.mark.slow
def test_it_runs_made_small(tmp_path):
    done = cov_study("run", "--preset", "paper", *OVERRIDES, "-o", "resources.workers=1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "runs" / "paper" / "report" / "summary.json").read_text())
    assert summary["finished"]
    assert list(summary["arms"]) == [
        "single-l1", "single-ssim", "single-gradient", "single-frequency", "equal", "tuned", "cov", "cov-frozen",
        "inverse-initial", "random",
    ]  # fmt: skip
    assert summary["noninferiority"]["psnr"]["margin"] == 0.3
