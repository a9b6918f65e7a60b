"""A study of user-defined components, through the installed command and on Ray's workers."""

import csv
import hashlib
import json
import sys
from pathlib import Path

import pytest
import yaml

from study.record.environment import other_code
from study.settings.arms import make_arms
from study.settings.components import Components, check_components
from study.settings.reading import load_config
from tests.commands.command import QUICK, cov_study
from trainables.errors import UserError
from trainables.proof import Code

MODULE = """
from trainables.metrics import Metric

def squared(prediction, target, mask=None):
    return (prediction - target).square().mean()

CONTRAST = Metric("contrast", "max", lambda prediction, target, region: prediction[region].std())
"""
CONFIG = {
    "name": "mine",
    "seeds": [1],
    "terms": ["relative-error", "mine:squared"],
    "metrics": ["bias", "mine:CONTRAST"],
    "objective": "bias",
    "cohort": {"virtual": {"num_subjects": 8, "num_train": 4, "num_validation": 2, "num_test": 2, "resolution": 8}},
    "training": {
        "network": {"name": "plain", "channels": [4, 4], "strides": None, "options": {"layers": 2}},
        "epochs": 2,
        "steps_per_epoch": 2,
        "batch_size": 4,
    },
    "arms": {
        "single": {},
        "tuned": {"budget": {"trials": 2}, "seeds": 1},
        "larger": {"strategy": "larger-first", "options": {"decay": 0.5}},
    },
}


@pytest.fixture(scope="module")
def study(site, tmp_path_factory):
    """A finished study, and what its command said; its module lies beside its configuration, not where it started."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "code").mkdir()
    (folder / "code" / "mine.py").write_text(MODULE)
    (folder / "code" / "mine.yaml").write_text(yaml.safe_dump(CONFIG))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(site))
        return folder / "runs" / "mine", cov_study("run", "code/mine.yaml", *QUICK, folder=folder)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_every_trial_was_trained_with_them(study):
    directory, done = study
    assert done.returncode == 0, done.stderr
    trials = {row["trial"]: row for row in rows(directory / "trials.csv")}
    assert set(trials) == {
        "single-relative-error-s1", "single-mine:squared-s1", "tuned-r0-t000", "tuned-r0-t001", "tuned-r0-confirm-s1",
        "larger-s1",
    }  # fmt: skip
    for row in trials.values():
        assert row["state"] == "complete"
        for metric in ("psnr", "bias", "mine:CONTRAST"):
            assert float(row[f"val/{metric}"]) > 0
            assert float(row[f"test/{metric}"]) > 0
    weights = [float(trials["larger-s1"][f"weight/{term}"]) for term in CONFIG["terms"]]
    assert sum(weights) == pytest.approx(1)
    assert weights[0] > weights[1]  # a relative error is larger than a squared one
    card = json.loads((directory / "checkpoints" / "larger-s1" / "model.json").read_text())
    assert card["network"]["name"] == "plain"


@pytest.mark.slow
def test_a_metric_of_ones_own_selects_the_incumbent_and_stands_in_the_report(study):
    directory, _ = study
    searched = [row for row in rows(directory / "trials.csv") if row["role"] == "search"]
    best = min(searched, key=lambda row: float(row["val/bias"]))
    events = [json.loads(line) for line in (directory / "journal.jsonl").read_text().splitlines()]
    assert [e["incumbent"] for e in events if e["event"] == "search_ended"] == [best["trial"]]
    scored = {(row["trial"], row["metric"]) for row in rows(directory / "subjects.csv") if row["region"] == "lesion"}
    assert {("identity", "bias"), ("larger-s1", "bias"), ("larger-s1", "mine:CONTRAST")} <= scored
    summary = json.loads((directory / "report" / "summary.json").read_text())
    assert summary["arms"]["larger"]["test"]["bias"]["n"] == 2
    assert summary["units"]["metrics"]["bias"] == {"unit": None, "goal": "min"}
    assert "| bias |" in (directory / "report" / "tables" / "results.md").read_text()


@pytest.mark.slow
def test_where_they_come_from_is_written_down_and_reading_a_study_does_not_need_them(study, monkeypatch):
    directory, _ = study
    recorded = yaml.safe_load((directory / "study.yaml").read_text())
    assert recorded["parts"]["terms/relative-error"] == "example-parts 1.0"
    assert recorded["parts"]["terms/mine:squared"].startswith("mine.py sha256:")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")  # a terminal without a minus sign is no reason to fail
    for command in (("status", str(directory), "--json"), ("report", str(directory))):
        done = cov_study(*command, folder=directory)  # without the package on its path
        assert done.returncode == 0, done.stderr


def found(origins: dict[str, str]) -> Components:
    """Components that come from there."""
    return Components(goals={}, foreign=[], origins=origins)


def test_code_that_changed_between_two_starts_is_told_in_the_report():
    recorded = {"terms/edges": "mine.py sha256:1", "metrics/bias": "example-parts 1.0"}
    assert found(recorded).changed_since(dict(recorded)) is None
    assert found(recorded | {"terms/edges": "mine.py sha256:2"}).changed_since(recorded) == (
        "Went on with other code than it was begun with: terms/edges (mine.py sha256:1, then mine.py sha256:2)."
    )


def test_a_node_that_cannot_find_a_part_says_so(tmp_path, monkeypatch):
    (tmp_path / "there.py").write_text("edges = len")
    monkeypatch.setattr(sys, "path", sys.path.copy())
    code = Code(root="", digests={})
    assert other_code(code, [], {"terms/edges": None}) == "unknown loss term 'edges'"
    known = {"terms/there:edges": f"there.py sha256:{hashlib.sha256(b'edges = len').hexdigest()[:12]}"}
    assert other_code(code, [str(tmp_path)], known) is None
    problem = other_code(code, [], known | {"weightings/far_away:Weighting": None})
    assert "weighting 'far_away:Weighting': there is no module 'far_away'" in problem
    problem = other_code(code, [], {"terms/there:edges": "there.py sha256:another"})
    assert (
        problem == f"terms/there:edges is not the driver's: it is {known['terms/there:edges']}, "
        "and was there.py sha256:another at the driver"
    )


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["terms=[l1, mine:zero]"], "terms: loss term 'mine:zero' cannot be differentiated"),
        (["metrics=[mine:zero]"], "metrics: metric 'mine:zero' must be a trainables.metrics.Metric, not function"),
        (
            ["training.network.name=mine:half"],
            "network 'mine:half' must turn (B, 1, H, W) into (B, 1",
        ),
        (
            ["training.network.name=mine:half", "training.network.residual=false"],
            "training.network: network 'mine:half' must turn (B, 1, H, W) into (B, 1, H, W): of (2, 1, 128,",
        ),
        (["training.network.name=mine:zero"], "training.network: making 'mine:zero' fails with TypeError"),
        (["training.network.name=mine:flat"], "training.network.residual: mine:flat has no convolution"),
        (["training.network.options.deep=1"], "training.network.options: unet has no option 'deep'"),
        (["arms.x.strategy=mine:Heavy"], "arms.x: weighting 'mine:Heavy' gives weights that sum to 2, not to 1"),
        (["arms.x.strategy=mine:zero"], "arms.x: weighting 'mine:zero' must be a subclass of"),
    ],
)
def test_a_part_that_breaks_its_promise_is_told_before_anything_is_done(tmp_path, monkeypatch, overrides, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "from trainables.weighting import LossWeighting\n"
        "def zero(p, t, m): return torch.zeros(())\n"
        "def half(config, channels): return torch.nn.Conv2d(channels, 1, 3, stride=2, padding=1)\n"
        "def flat(config, channels): return torch.nn.Linear(8, 8)\n"
        "class Heavy(LossWeighting):\n"
        "    def next_weights(self, losses): return torch.full_like(losses, 2 / self.num_terms)\n"
    )
    config = load_config(preset="smoke", overrides=overrides)
    with pytest.raises(UserError) as error:
        check_components(config, make_arms(config))
    assert says in str(error.value)
    assert "\n" not in str(error.value)
