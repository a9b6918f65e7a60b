"""Every command that the README and the documentation show: the tutorial's word for word, the others on its study."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from study.commands.app import app
from tests.commands.command import cov_study
from tests.docs.blocks import PAGES, Command, commands, mentioned
from tests.docs.tutorial import TUTORIAL
from tests.waiting import PATIENCE_SECONDS

SHOWN = [command for page in PAGES for command in commands(page)]
FOLLOWED = {command.words for command in commands(TUTORIAL)}
RUN = {c.words: c for c in SHOWN if c.block.marker is None and c.words not in FOLLOWED}.values()
PARSED = [command.words for command in SHOWN]
PARSED += [tuple(text.split()) for page in PAGES for text in mentioned(page) if len(text.split()) > 2]

SMALL = (
    "-o", "training={epochs: 1, steps_per_epoch: 1, network: {name: unet, channels: [4, 8], strides: [2]}}",
    "-o", "arms={tuned: {budget: {trials: 1}}, cov: {}}", "-o", "seeds=[1]", "-o", "resources.workers=1",
    "-o", "cohort.virtual={num_subjects: 6, resolution: 8}",
)  # fmt: skip
"""A study that is over in seconds, whatever the command asks for."""


def examples(command, path=("cov-study",)):
    """The example that each command's help ends with."""
    for name, child in getattr(command, "commands", {}).items():
        yield from examples(child, (*path, name))
    if not hasattr(command, "commands"):
        yield path, tuple((command.epilog or "").removeprefix("Example: `").removesuffix("`").split())


EXAMPLES = list(examples(typer.main.get_command(app)))


def parse(words: tuple[str, ...]) -> None:
    """Fails where the command does not know a word of the line; runs nothing."""
    command, rest = typer.main.get_command(app), list(words[1:])
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(" ".join(words), rest)


@pytest.mark.parametrize("words", dict.fromkeys(PARSED), ids=shlex.join)
def test_every_command_is_understood(words):
    parse(words)


@pytest.mark.parametrize(("path", "words"), EXAMPLES, ids=[" ".join(path) for path, _ in EXAMPLES])
def test_every_help_ends_with_an_example_of_its_own(path, words):
    assert words[: len(path)] == path
    parse(words)


def test_a_command_that_does_not_exist_is_not_understood():
    with pytest.raises(Exception, match="No such option"):
        parse(("cov-study", "run", "--presets", "demo"))


@pytest.mark.slow
def test_the_tutorial_ends_with_what_it_promises(tutorial):
    folder, said = tutorial
    assert (folder / "contact-sheet.png").stat().st_size > 0
    assert said.count("One training of CoV cost ") == 2  # after run and report
    assert "device-hours, about" in said
    for name in ("report/index.html", "trials.csv", "subjects.csv", "ledger.csv"):
        assert (folder / "runs" / "mine" / name).stat().st_size > 0
    assert len(list((folder / "synthetic").rglob("*.nii.gz"))) == 12
    summary = json.loads((folder / "runs" / "mine" / "report" / "summary.json").read_text())
    assert summary["finished"]
    assert summary["noninferiority"]["psnr"]["margin"] == 0.3


@pytest.fixture
def desk(tutorial, tmp_path) -> Path:
    """A folder that has what the commands speak of."""
    folder, _ = tutorial
    shutil.copytree(folder / "data", tmp_path / "data")
    for early in (tmp_path / "data" / "bids").rglob("*_acq-early_ce-gadobutrol_T1w.nii.gz"):
        subject = early.name.partition("_")[0]
        shutil.copy(early, early.with_name(f"{subject}_T1w.nii.gz"))
        delayed = early.with_name(early.name.replace("early", "delayed"))
        shutil.copy(delayed, early.with_name(f"{subject}_ce-gadolinium_T1w.nii.gz"))
    shutil.copy(folder / "mine.yaml", tmp_path / "study.yaml")
    for name in ("mine", "demo", "other"):
        shutil.copytree(folder / "runs" / "mine", tmp_path / "runs" / name)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN, ids=lambda command: f"{command.block.where} {' '.join(command.words[1:4])}")
def test_every_other_command_runs(command: Command, desk, monkeypatch):
    words = [word.replace("/shared/", f"{desk}/") for word in command.words[1:]]
    if words[0] in ("run", "estimate"):
        shutil.rmtree(desk / "runs" / "mine")
        words += SMALL
    if words[0] == "launch" and "--dry-run" not in words:
        words.append("--dry-run")
    if words[0] == "run":  # Ray wants a process to itself
        done = cov_study(*words, folder=desk)
        assert done.returncode == 0, done.stderr
    else:
        monkeypatch.chdir(desk)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{desk / 'mlflow.db'}")
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output


def answer_of(server: subprocess.Popen, url: str):
    """What the server answers, once it does."""
    while server.poll() is None:
        with suppress(urllib.error.URLError), urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
            return json.load(answer)
        time.sleep(0.2)
    raise AssertionError(f"the server ended with {server.returncode}")


@pytest.mark.slow
def test_optuna_dashboard_shows_the_search(desk):
    (shown,) = commands(PAGES[0].parent / "docs" / "optuna-dashboard.md", "optuna-dashboard")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).with_name(shown.words[0])
    server = subprocess.Popen(
        [program, *shown.words[1:], "--port", str(port), "--server", "wsgiref", "--quiet"],
        cwd=desk, env=os.environ | {"HOME": str(desk)}, start_new_session=True,
    )  # fmt: skip
    try:
        study = answer_of(server, f"http://127.0.0.1:{port}/api/studies/0?after=0")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
    assert study["name"] == "tuned-r0"
    assert [trial["state"] for trial in study["trials"]] == ["Complete"] * 4
    assert {param["name"] for param in study["trials"][1]["params"]} == {"log_ratio/ssim", "log_ratio/gradient"}
