"""A whole study through the installed command: every file the contract promises, and nothing it forbids."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.numpy import load_file

from study.record.record import load_state
from tests.commands.command import cov_study
from tests.record.plain import read_plain

DATA = Path(__file__).parents[3] / "shared" / "data" / "real"
PATTERNS = ("-o", "cohort.prepare.source_pattern=T1w", "-o", "cohort.prepare.target_pattern=ce-gadolinium_T1w")


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """A finished smoke study and what its command said. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("smoke")
    return folder / "runs" / "smoke", cov_study("run", "--preset", "smoke", folder=folder)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_command_ends_with_the_verdict_and_the_page(smoke):
    directory, done = smoke
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert "CoV" in lines[0]
    assert (directory.parent.parent / lines[2]).samefile(directory / "report" / "index.html")


def test_plain_lines_when_piped_and_no_flood_of_warnings(smoke):
    _, done = smoke
    assert "\x1b" not in done.stdout + done.stderr
    assert not [line for line in done.stderr.splitlines() if "arning" in line]
    assert len(done.stderr.splitlines()) < 20


def test_every_file_of_the_contract_is_there(smoke):
    directory, _ = smoke
    for name in (
        "study.yaml", "journal.jsonl", "trials.csv", "subjects.csv", "ledger.csv",
        "report/index.html", "report/summary.json",
    ):  # fmt: skip
        assert (directory / name).stat().st_size > 0, name
    assert (directory / "optuna").is_dir()
    assert list((directory / "report" / "figures").glob("*.svg"))
    assert list((directory / "report" / "tables").glob("*.tex"))
    assert not list(directory.rglob("*.tmp"))
    assert not (directory / ".ray").exists()
    study = yaml.safe_load((directory / "study.yaml").read_text())
    assert study["config"]["name"] == "smoke"
    assert study["tracking"]["uri"].startswith("sqlite:///")
    assert {"torch", "ray", "optuna"} <= set(study["versions"])


def test_status_answers_without_what_only_a_running_study_needs(smoke):
    directory, _ = smoke
    heavy = {"torch", "ray", "mlflow", "optuna", "monai", "pandas"}
    code = (
        "import sys; from pathlib import Path; from study.commands.status import status; "
        f"status(Path({str(directory)!r})); sys.exit(str({heavy} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "set()\n"
    assert "smoke: finished" in done.stdout


def test_the_csv_files_say_what_the_journal_says(smoke):
    directory, _ = smoke
    state = load_state(directory)
    assert state.finished
    trials = {row["trial"]: row for row in rows(directory / "trials.csv")}
    assert set(trials) == set(state.trials) == {
        "single-l1-s1", "single-ssim-s1", "equal-s1", "tuned-r0-t000", "tuned-r0-t001", "tuned-r0-t002",
        "tuned-r0-confirm-s1", "tuned-r0-confirm-s2", "cov-s1", "cov-s2",
    }  # fmt: skip
    for row in trials.values():
        assert row["state"] == "complete"
        assert float(row["cost/device_seconds"]) > 0
        assert {"val/psnr", "val/ssim", "val/rmse", "test/psnr", "test/ssim", "test/rmse"} <= set(row)
    weights = [float(trials["tuned-r0-t001"][f"weight/{term}"]) for term in ("l1", "ssim")]
    assert sum(weights) == pytest.approx(1)
    subjects = rows(directory / "subjects.csv")
    assert {row["region"] for row in subjects} >= {"mask", "volume"}
    assert len({row["subject"] for row in subjects if row["trial"] == "cov-s1"}) == 2
    ledger = rows(directory / "ledger.csv")
    assert len(ledger) == 10
    assert all(row["state"] == "complete" and float(row["device_seconds"]) > 0 and row["device"] for row in ledger)


def test_test_scores_never_reach_the_searcher(smoke):
    directory, _ = smoke
    for event in read_plain(directory / "journal.jsonl"):
        if event["event"] == "measurement":
            assert not [key for key in event["metrics"] if key.startswith("test")]
    # What the search was told is the validation objective of each trial, to the bit.
    import optuna

    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(directory / "optuna" / "tuned-r0.journal"))
    )
    state = load_state(directory)
    for trial in optuna.load_study(study_name="tuned-r0", storage=storage).trials:
        assert trial.value == state.objective.value(state.trials[trial.user_attrs["key"]])
    assert "test" not in (directory / "optuna" / "tuned-r0.journal").read_text()


def test_the_kept_models_are_safetensors_and_searches_keep_none(smoke):
    directory, _ = smoke
    checkpoints = directory / "checkpoints"
    assert load_file(checkpoints / "cov-s1" / "model.safetensors")
    assert not (checkpoints / "tuned-r0-t001" / "model.safetensors").exists()
    assert not list(checkpoints.rglob("*.pt"))
    assert load_file(checkpoints / "reference.safetensors")["target"].shape[0] == 2


def test_the_summary_holds_what_the_contract_promises(smoke):
    directory, _ = smoke
    summary = json.loads((directory / "report" / "summary.json").read_text())
    for arm in ("single-l1", "equal", "tuned", "cov"):
        for metric in ("psnr", "ssim", "rmse"):
            assert set(summary["arms"][arm]["test"][metric]) >= {"mean", "sd", "n"}
        assert set(summary["arms"][arm]["cost"]["device_seconds"]) >= {"search", "confirmation", "total"}
    assert set(summary["noninferiority"]["psnr"]) >= {"difference", "low", "high", "margin", "verdict"}
    assert summary["break_even"]
    assert set(summary["cost_ratio"]) >= {"value", "low", "high"}
    assert set(summary["baselines"]) == {"identity", "intensity_map"}


def test_status_and_report_work_on_a_finished_study(smoke):
    directory, _ = smoke
    status = cov_study("status", str(directory), "--json", folder=directory.parent)
    told = json.loads(status.stdout)
    assert (told["state"], [row["done"] for row in told["arms"]]) == ("finished", [1, 1, 1, 5, 2])
    shown = cov_study("status", str(directory), folder=directory.parent)
    assert "tuned-r0-t00" in shown.stdout
    summary = (directory / "report" / "summary.json").read_bytes()
    again = cov_study("report", str(directory), folder=directory.parent)
    assert again.returncode == 0, again.stderr
    assert (directory / "report" / "summary.json").read_bytes() == summary


def test_a_study_is_never_overwritten(smoke):
    directory, _ = smoke
    done = cov_study("run", "--preset", "smoke", "--out", str(directory), folder=directory.parent)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "holds a study already" in done.stderr


def test_runs_are_nested_in_mlflow(smoke):
    from mlflow.tracking import MlflowClient

    directory, _ = smoke
    client = MlflowClient(f"sqlite:///{directory.parent.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("cov-study")
    found = client.search_runs([experiment.experiment_id], max_results=1000)
    parents = {run.info.run_id: run.data.tags.get("mlflow.parentRunId") for run in found}
    depths = [0 if not p else 1 if not parents[p] else 2 for p in parents.values()]
    assert sorted(depths) == [0] + [1] * 5 + [2] * 10
    assert {run.info.status for run in found} == {"FINISHED"}


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the real image pairs are not on this machine")
@pytest.mark.parametrize("door", ["bids", "manifest"])
def test_real_scanner_files_go_all_the_way_through(tmp_path, door):
    cohort, options = DATA, PATTERNS
    if door == "manifest":
        cohort, options = tmp_path / "pairs.csv", ()
        lines = ["subject,source,target,mask,split"]
        for subject, split in (("sub-ms07", "train"), ("sub-ms19", "validation"), ("sub-ms26", "test")):
            stem = DATA / subject / "anat" / subject
            lines.append(
                f"{subject},{stem}_T1w.nii.gz,{stem}_ce-gadolinium_T1w.nii.gz,{stem}_label-brain_mask.nii.gz,{split}"
            )
        cohort.write_text("\n".join(lines))
    done = cov_study("run", "--preset", "smoke", "--cohort", str(cohort), *options, "--out", "real", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    state = load_state(tmp_path / "real")
    assert state.info.cohort.splits == {"train": 1, "validation": 1, "test": 1}
    assert not state.info.cohort.simulated
    # No identifier leaves the cohort's folder.
    for name in ("journal.jsonl", "subjects.csv", "report/index.html", "report/summary.json"):
        text = (tmp_path / "real" / name).read_text()
        assert "ms07" not in text.replace(str(cohort), ""), name


@pytest.mark.slow
def test_scans_of_one_subject_are_one_subject_all_the_way_through(tmp_path):
    """Four patients of three scans each, two of them tested: N is 2, not 6."""
    simulated = cov_study("cohort", "simulate", "images", "--subjects", "12", "--resolution", "8", folder=tmp_path)
    assert simulated.returncode == 0, simulated.stderr
    lines = ["subject,source,target,mask,split"]
    for number in range(12):
        stem = f"images/sub-{number + 1:03d}/anat/sub-{number + 1:03d}"
        files = ",".join(
            f"{stem}_{end}.nii.gz"
            for end in ("acq-early_ce-gadobutrol_T1w", "acq-delayed_ce-gadobutrol_T1w", "label-brain_mask")
        )
        lines.append(f"patient {number // 3},{files},{('train', 'validation', 'test', 'test')[number // 3]}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    done = cov_study("run", "--preset", "smoke", "--cohort", "pairs.csv", "--out", "scans", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    state, summary = load_state(tmp_path / "scans"), json.loads((tmp_path / "scans/report/summary.json").read_text())
    assert state.info.document["scans"] == {
        f"subject-00{s}-scan-{k}": f"subject-00{s}" for s in range(1, 5) for k in (1, 2, 3)
    }
    assert state.info.cohort.splits == {"train": 1, "validation": 1, "test": 2}
    assert {metric["n"] for metric in summary["noninferiority"].values()} == {2}
    assert (summary["num_test_subjects"], summary["num_test_scans"]) == (2, 6)
    scored = [(row["subject"], row["scan"]) for row in rows(tmp_path / "scans" / "subjects.csv")]
    assert len(set(scored)) == 6
    assert "2 test subjects (6 scans)" in (tmp_path / "scans/report/index.html").read_text()
