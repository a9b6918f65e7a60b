"""What a person sees of a study: whole in a pipe, folded on a narrow terminal, without unwanted colours."""

import io
import re

import pytest
from rich.console import Console

from study.commands.console import arm_table, make_console, make_table
from study.commands.status import status
from study.commands.units import duration, size
from study.planning.standing import ArmStanding
from study.record.journal import Journal
from study.study import Study
from tests.planning.walk import DEMO
from tests.record.plain import append
from trainables.errors import UserError

ROWS = [
    ("single-frequency", "1/1", "", "24.73", "single-frequency-s1"),
    ("an arm [red] of one's own", "3", "", "", ""),
]
TABLE = make_table("Arms", ("arm", "done", "failed", "val/psnr", "incumbent"), ROWS, words=("incumbent",))


def printed(table, **options) -> str:
    file = io.StringIO()
    Console(file=file, **options).print(table)
    return file.getvalue()


def test_a_pipe_gets_whole_names_and_no_escape_codes():
    file = io.StringIO()
    make_console(file).print(TABLE)
    text = file.getvalue()
    assert "single-frequency-s1" in text
    assert "an arm [red] of one's own" in text
    assert "\x1b" not in text


def test_a_column_that_is_empty_throughout_is_left_out():
    text = printed(TABLE, width=120)
    assert "done" in text
    assert "failed" not in text


@pytest.mark.parametrize("width", [30, 45, 60, 80])
def test_a_narrow_terminal_folds_and_cuts_nothing(width):
    text = printed(TABLE, width=width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    letters = sorted("".join(ROWS[0] + ROWS[1]).replace(" ", ""))
    shown = "".join(re.sub(r"[─\s]", "", line) for line in text.splitlines())
    assert all(shown.count(letter) >= letters.count(letter) for letter in set(letters))


def test_no_color_means_no_colour_even_on_a_terminal(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    text = printed(TABLE, width=80, force_terminal=True)
    assert not re.search(r"\x1b\[[\d;]*(3[0-7]|4[0-7]|9[0-7])[\d;]*m", text)


def test_durations_and_sizes_are_in_units_a_person_thinks_in():
    seconds = (0, 1e-9, 0.034, 0.97, 59.4, 185, 7800, 4 * 86_400 + 3 * 3600)
    shown = ["0 s", "0.001 s", "0.03 s", "1 s", "59 s", "3 min 05 s", "2 h 10 min", "4 d 03 h"]
    assert [duration(s) for s in seconds] == shown
    assert [size(n) for n in (512, 3.4e6, 1.2e9, 5e12)] == ["512 B", "3.4 MB", "1.2 GB", "5.0 TB"]


def test_an_arm_without_an_incumbent_has_a_row_too():
    row = ArmStanding(
        arm="cov", planned=2, done=0, running=2, pruned=0, failed=0, best=None, incumbent=None, device_seconds=61.0
    )
    text = printed(arm_table("demo", "val/psnr", [row]), width=80)
    assert "0/2" in text
    assert "1 min 01 s" in text


def test_status_tells_preparing_running_stopped_and_finished_apart(tmp_path, capsys):
    info = {"name": "mine", "config": DEMO, "objective": "val/psnr", "goal": "max"}
    with Journal(tmp_path / "journal.jsonl") as journal:
        assert Study.open(tmp_path).status().state == "preparing"
        status(tmp_path)
        append(journal, "study", **info)
        assert Study.open(tmp_path).status().state == "running"
    assert Study.open(tmp_path).status().state == "stopped"
    status(tmp_path)
    assert f"Go on with: cov-study resume {tmp_path}" in capsys.readouterr().out
    with Journal(tmp_path / "journal.jsonl") as journal:
        append(journal, "finished")
        assert Study.open(tmp_path).status().state == "finished"
    status(tmp_path)
    assert f"Report: {tmp_path / 'report' / 'index.html'}" in capsys.readouterr().out


def test_status_names_the_trials_that_failed(tmp_path, capsys):
    with Journal(tmp_path / "journal.jsonl") as journal:
        append(journal, "study", name="mine", config=DEMO, objective="val/psnr", goal="max")
        nothing = {"replicate": None, "number": None, "params": {}, "weighting": {}, "terms": ["l1"]}
        for seed in range(12):
            key = f"single-l1-s{seed}"
            append(journal, "trial", trial=key, arm="single-l1", role="single", seed=seed, **nothing)
            append(journal, "attempt_started", trial=key, attempt=1, started=0.0, share=1.0)
            append(journal, "attempt_ended", trial=key, state="failed", reason="out of memory")
    assert len(Study.open(tmp_path).status().failures) == 12
    status(tmp_path)
    shown = capsys.readouterr().out
    assert "single-l1-s0 failed: out of memory" in shown
    assert f"2 more trials failed: cov-study status {tmp_path} --json" in shown


def test_a_folder_that_is_no_study_names_those_nearby(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"nowhere/journal\.jsonl: no journal here\. Name the folder"):
        Study.open(tmp_path / "nowhere").status()
    with Journal(tmp_path / "runs" / "demo" / "journal.jsonl") as journal:
        append(journal, "note", text="")
    with pytest.raises(UserError, match=r"no journal here; did you mean 'runs/demo'\?"):
        Study.open(tmp_path / "runs" / "dmeo").status()
    with pytest.raises(UserError, match=r"its journal is empty"):
        Study.open(tmp_path / "runs" / "demo").status()
