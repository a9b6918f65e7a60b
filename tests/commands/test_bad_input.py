"""What a user can get wrong: one line that names it, exit status 1, nothing half-written."""

from pathlib import Path

import pytest

from tests.commands.command import cov_study

SMOKE = ("run", "--preset", "smoke", "--out", "out")


def refused(folder: Path, *arguments: str, status: int = 1) -> str:
    """The one line on stderr."""
    before = set(folder.rglob("*"))
    done = cov_study(*arguments, folder=folder)
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert set(folder.rglob("*")) == before
    lines = [line for line in done.stderr.splitlines() if line.startswith("cov-study:")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((*SMOKE, "-o", "trainig.epochs=3"), "unknown key `trainig`; did you mean -o training.epochs=3?"),
        ((*SMOKE, "-o", "training.epochs=few"), "`training.epochs`: input should be a valid integer"),
        ((*SMOKE, "-o", "terms=[l1, sim]"), "terms: unknown loss term 'sim'; did you mean 'ssim'?"),
        ((*SMOKE, "-o", "arms.cov.options.mode=half"), "arms.cov: "),
        ((*SMOKE, "-o", "arms.covv={}"), "arms.covv: unknown weighting 'covv'; did you mean 'cov'?"),
        ((*SMOKE, "-o", "training.network.name=unett"), "name: unknown network 'unett'; did you mean 'unet'?"),
        ((*SMOKE, "-o", "resources.workers=999"), "resources.workers: 999 trial(s) x 1 CPU ask for 999 CPUs"),
        ((*SMOKE, "-o", "training"), "write it as key.path=value"),
        ((*SMOKE, "--cohort", "nowhere"), "nowhere"),
        (("run", "mine.yaml"), "mine.yaml: no such file"),
        (("run", "--preset", "dmeo"), "--preset dmeo: there is no such preset; did you mean 'demo'?"),
        (("resume", "nowhere"), "nowhere: no study here"),
        (("status", "nowhere"), "nowhere/journal.jsonl: no journal here"),
        (("report", "nowhere"), "journal.jsonl: no journal here"),
        (("cohort", "simulate", "out", "--resolution", "-1"), "--resolution"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_it_is_told_in_one_line(tmp_path, arguments, says):
    assert says in refused(tmp_path, *arguments)


def test_a_cohort_without_pairs_says_what_was_looked_for(tmp_path):
    (tmp_path / "bids" / "sub-01" / "anat").mkdir(parents=True)
    line = refused(tmp_path, *SMOKE, "--cohort", "bids")
    assert "acq-early_ce-gadobutrol_T1w" in line


def test_too_few_subjects_for_the_split_and_a_missing_file_are_named(tmp_path):
    rows = [f"{name},{name}-source.nii.gz,{name}-target.nii.gz" for name in "abcd"]
    (tmp_path / "pairs.csv").write_text("\n".join(["subject,source,target", *rows]))
    assert "a-source.nii.gz" in refused(tmp_path, *SMOKE, "--cohort", "pairs.csv")
    done = cov_study("cohort", "simulate", "tiny", "--subjects", "3", "--resolution", "8", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    line = refused(tmp_path, *SMOKE, "--cohort", "tiny", "-o", "cohort.prepare.num_test=5")
    assert "num_test" in line or "test" in line


def test_a_word_that_is_no_command_is_a_usage_error(tmp_path):
    assert cov_study("runn", folder=tmp_path).returncode == 2
    assert cov_study("run", "--nope", folder=tmp_path).returncode == 2


@pytest.mark.parametrize(
    "command", ["run", "resume", "status", "report", "sync", "ui", "cohort simulate", "cohort check"]
)
def test_help_shows_an_example(tmp_path, command):
    done = cov_study(*command.split(), "--help", folder=tmp_path)
    assert f"Example: cov-study {command}" in done.stdout


def test_debug_shows_where_an_error_came_from(tmp_path):
    done = cov_study("status", "nowhere", "--debug", folder=tmp_path)
    assert "Traceback" in done.stderr
