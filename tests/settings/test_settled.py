"""What becomes of an edited `study.yaml`: the configuration that counts is the journal's."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.record.journal import Journal
from study.record.record import load_state
from study.settings.overrides import every_key
from study.settings.reading import load_config
from study.settings.schema import StudyConfig
from study.settings.settled import FATES, begun_config, edits_left, settle, write_study
from study.study import Study
from tests.commands.command import QUICK, cov_study
from tests.record.plain import append, read_plain
from trainables.errors import UserError


def begin(folder: Path, **changed: Any) -> Path:
    """A study that has just begun."""
    config = load_config(preset="smoke").model_dump(mode="json") | changed
    with Journal(folder / "study" / "journal.jsonl") as journal:
        append(journal, "study", name="smoke", config=config, terms=config["terms"], cohort={"digest": "0", "x": 1e-7})
    write_study(folder / "study", load_state(folder / "study").info.document, {"uri": "sqlite:///mlflow.db"})
    return folder / "study"


def edit(directory: Path, section: str, **values: Any) -> None:
    """Sets values in a section of `study.yaml`; `""` is its top."""
    path = directory / "study.yaml"
    study = yaml.safe_load(path.read_text())
    node = study
    for name in filter(None, section.split(".")):
        node = node[name]
    node.update(values)
    path.write_text(yaml.safe_dump(study))


def settled(directory: Path) -> tuple[StudyConfig, dict[str, Any], list[str]]:
    lines: list[str] = []
    info = load_state(directory).info
    taken_up = dict(settle(directory, info, lines.append))
    config = begun_config(directory, info.with_settings(taken_up))
    return config, taken_up, [line.removeprefix(f"{directory}/") for line in lines]


def test_the_fate_of_every_key_is_decided():
    keys = {*every_key(StudyConfig), "arms"}
    decided = {key: [fate for fate in FATES if f"{key}.".startswith(f"{fate}.")] for key in keys}
    assert {key: fates for key, fates in decided.items() if len(fates) != 1} == {}
    assert {fate for fate in FATES if not any(f"{key}.".startswith(f"{fate}.") for key in keys)} == set()


@pytest.mark.parametrize(
    ("section", "values", "says"),
    [
        ("training", {"epochs": 4}, "`training.epochs` is 4 and was 2 when"),
        ("", {"terms": ["l1"], "arms": {"equal": {}}}, '`terms` is ["l1"] and was ["l1", "ssim"] when'),
        ("arms", {"extra": {"strategy": "equal"}}, '`arms.extra` is {"strategy": "equal"'),
        ("arms.tuned.budget", {"trials": 5}, "`arms.tuned.budget.trials` is 5 and was 3 when"),
        ("arms.cov", {"options": {"mode": "full"}}, '`arms.cov.options.mode` is "full" and was not set when'),
        ("", {"seeds": [1, 2, 3]}, "`seeds` is [1, 2, 3] and was"),
        ("", {"tune_learning_rate": {"low": 1e-4, "high": 1e-2}}, '`tune_learning_rate` is {"low": 0.0001'),
        ("cohort.prepare", {"neighbours": 1}, "`cohort.prepare.neighbours` is 1 and was 0 when"),
        ("resources", {"cpus_per_trial": 2}, "`resources.cpus_per_trial` is 2.0 and was 1.0 when"),
        ("training", {"network": {"name": "plain"}}, '`training.network.name` is "plain" and was "unet" when'),
    ],
    ids=lambda value: "",
)
def test_what_would_change_a_result_is_refused_and_nothing_is_running(tmp_path, section, values, says):
    directory = begin(tmp_path)
    edit(directory, f"config.{section}", **values)
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    with pytest.raises(UserError) as refused:
        Study.open(directory).resume()
    assert says in str(refused.value)
    assert str(refused.value).startswith(f"{directory}/study.yaml: `")
    assert str(refused.value).endswith("Put it back, or start a new study with another --out.")
    assert "\n" not in str(refused.value)
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


def test_all_that_would_change_a_result_is_in_one_line(tmp_path):
    directory = begin(tmp_path)
    edit(directory, "config.training", epochs=4, batch_size=3)
    with pytest.raises(UserError, match=r"`training\.epochs` is 4 .*, `training\.batch_size` is 3 "):
        settled(directory)


def test_an_unedited_file_has_no_effect_nor_has_one_of_an_earlier_version(tmp_path):
    config = load_config(preset="smoke")
    directory = begin(tmp_path)
    assert settled(directory) == (config, {}, [])
    assert edits_left(directory, load_state(directory).info) == []
    del (resources := config.model_dump(mode="json")["resources"])["reuse_actors"]
    directory = begin(tmp_path / "earlier", resources=resources)
    assert settled(directory) == (config, {}, [])
    edit(directory, "config", resources=config.model_dump(mode="json")["resources"], module_path=())
    assert settled(directory) == (config, {}, [])


def test_what_changes_no_result_is_taken_up_and_the_next_driver_goes_on_with_it(tmp_path):
    directory = begin(tmp_path)
    edit(directory, "config.resources", workers=1, max_retries=0)
    edit(directory, "config.cohort", path="/mnt/moved")
    edit(directory, "config.report", images=False)
    config, taken_up, lines = settled(directory)
    assert taken_up == {
        "cohort.path": "/mnt/moved", "resources.workers": 1, "resources.max_retries": 0, "report.images": False,
    }  # fmt: skip
    assert (config.resources.workers, config.cohort.path, config.report.images) == (1, Path("/mnt/moved"), False)
    assert lines[1] == "study.yaml: `resources.workers` is 1 and was not set when the study began: taken up"
    left = edits_left(directory, load_state(directory).info)
    assert left[3].endswith(
        "`report.images` is false and was true when the study began: taken up by `cov-study resume`"
    )
    with Journal(directory / "journal.jsonl") as journal:
        append(journal, "driver_started", pid=1, workers=1, taken_up=taken_up)
    assert settled(directory) == (config, {}, [])


def test_what_is_not_taken_up_is_said(tmp_path):
    directory = begin(tmp_path)
    edit(directory, "config", name="another")
    edit(directory, "config.report", margin={"psnr": 3.0})
    edit(directory, "", terms=["l1"])
    config, taken_up, lines = settled(directory)
    assert (config, taken_up) == (load_config(preset="smoke"), {})
    assert lines == [
        'study.yaml: `name` is "another" and was "smoke" when the study began: not taken up',
        "study.yaml: `report.margin.psnr` is 3.0 and was not set when the study began: not taken up",
        'study.yaml: `terms` is ["l1"] and was ["l1", "ssim"] when the study began: not taken up',
    ]
    assert edits_left(directory, load_state(directory).info) == [f"{directory}/{line}" for line in lines]


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"{", b"", b"- list", b"config: none", b"name: smoke"])
def test_a_file_that_is_gone_or_damaged_is_not_needed(tmp_path, content):
    directory = begin(tmp_path)
    path = directory / "study.yaml"
    path.unlink() if content is None else path.write_bytes(content)
    config, taken_up, lines = settled(directory)
    assert (config, taken_up) == (load_config(preset="smoke"), {})
    assert lines == [
        "study.yaml: is missing or damaged; the study goes on as its journal says, and the file is written anew"
    ]


def test_what_is_no_configuration_is_refused_and_by_a_report_told(tmp_path):
    directory = begin(tmp_path)
    edit(directory, "config", trainig={})
    with pytest.raises(UserError, match="unknown key `trainig`"):
        settled(directory)
    (line,) = edits_left(directory, load_state(directory).info)
    assert "unknown key `trainig`" in line
    assert line.endswith(": not taken up")


@pytest.mark.slow
def test_a_study_goes_on_with_what_is_taken_up_and_reports_by_its_journal(tmp_path):
    directory = tmp_path / "study"
    done = cov_study("run", "--preset", "smoke", "--out", "study", *QUICK, "-o", "arms={cov: {}}", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    edit(directory, "config.report", margin={"psnr": 9.0}, images=False)
    edit(directory, "config.resources", workers=1)
    done = cov_study("report", "study", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "`report.margin.psnr` is 9.0 and was not set when the study began: not taken up" in done.stderr
    assert "report/figures/images" in str([*directory.rglob("*images*")])
    done = cov_study("resume", "study", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "`resources.workers` is 1 and was not set when the study began: taken up" in done.stderr
    started = [e for e in read_plain(directory / "journal.jsonl") if e["event"] == "driver_started"]
    assert started[1]["taken_up"] == {"resources.workers": 1, "report.images": False}
    assert started[1]["workers"] == 1
    assert not [*(directory / "report").rglob("*images*")]
    written = yaml.safe_load((directory / "study.yaml").read_text())
    assert written["config"] == load_state(directory).info.config
    assert written["config"]["report"] == {"margin": {}, "images": False}
    assert json.loads((directory / "report" / "summary.json").read_text())
