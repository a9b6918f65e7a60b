"""Studies that went wrong, or are small: a correct page that says so, never a crash, a NaN or a made-up number."""

import html
import json
import math
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_study import FakeStudy

from study.record.record import load_state
from study.report.build import Report, build_report, make_drawings, make_tables
from study.report.evidence import gather
from study.report.figures import weight_space, weights
from study.report.figures.style import styled
from study.report.findings.findings import find
from study.report.findings.words import put_into_words
from study.report.page.study import render
from study.report.summary import summarise

Build = Callable[[FakeStudy], Report]
Say = Callable[[FakeStudy], Any]

SMALL: dict[str, Any] = {"images": False, "num_trials": 6, "epochs": 4, "single_arms": False}

CASES: dict[str, tuple[dict[str, Any], str, set[str]]] = {
    # name: (study, what the headline says, caveats)
    "one seed": ({"seeds": (1,), "confirm_seeds": (1,)}, r"CoV is ", {"one_seed", "no_run_effect"}),
    "one trial": ({"num_trials": 1}, r"CoV is ", {"few_trials", "censored"}),
    "all failed": ({"fail": lambda key: True}, r"No verdict.*no test scores of CoV and hand-tuned", {"failed"}),
    "search failed": ({"fail": lambda key: "tuned" in key}, r"No verdict.*no test scores of hand-tuned", {"failed"}),
    "cov failed": ({"fail": lambda key: "cov" in key}, r"No verdict.*no test scores of CoV", {"failed"}),
    "no tuned arm": ({"tuned_arms": ()}, r"no hand-tuned arm", set()),
    "no automatic arm": ({"automatic_arms": ()}, r"no automatic arm", set()),
    "three subjects": ({"num_subjects": 3}, r"undecided", {"few_subjects", "low_power"}),
    "one subject": ({"num_subjects": 1}, r"not testable", {"few_subjects"}),
    "ties": ({"subject_noise": 0.0}, r"CoV is ", set()),
    "unconfirmed": ({"confirm_seeds": ()}, r"CoV is ", {"unconfirmed", "one_seed"}),
    "unfinished": ({"finished": False}, r"the study is not finished", {"unfinished"}),
    "unscored search": ({"score_search": False, "search_seed": 2}, r"CoV is ", {"validation_basis"}),
    "pruned and lost": (
        {"prune": lambda key: key.endswith(("4", "5")), "lose": lambda key: key.endswith("3")},
        r"CoV is ",
        {"pruned"},
    ),
    "one term": ({"terms": ("l1",), "tuned_arms": ()}, r"no hand-tuned arm", set()),
    "selected by RMSE": ({"objective": "rmse"}, r"CoV is ", set()),
    "two devices": ({"devices": ("A", "B")}, r"CoV is ", {"mixed_hardware"}),
}


@pytest.mark.parametrize("name", CASES)
def test_page_says_what_is_the_matter(name: str, say: Say) -> None:
    study, headline, caveats = CASES[name]
    said = say(FakeStudy(**(SMALL | study)))
    verdict = said.summary["verdict"]
    assert re.search(headline, verdict["headline"]), verdict["headline"]
    assert verdict["headline"] in html.unescape(said.page)
    assert {caveat["key"] for caveat in verdict["caveats"]} >= caveats
    _demand_no_nonsense(said.page)
    _demand_finite(said.summary)


@pytest.mark.parametrize(
    "name", ["one trial", "all failed", "no tuned arm", "no automatic arm", "one subject", "selected by RMSE"]
)
def test_figures_cope_too(name: str, build: Build) -> None:
    verdict = build(FakeStudy(**(SMALL | CASES[name][0])))
    page = verdict.page.read_text(encoding="utf-8")
    _demand_no_nonsense(page)
    assert '<figure id="cost_quality"' in page
    text = (verdict.page.parent / "summary.json").read_text(encoding="utf-8")
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in summary.json"))


def _demand_no_nonsense(page: str) -> None:
    """No number that is none, in text or in a figure's text and description."""
    words = re.sub(r"<script.*?</script>|<style.*?</style>|base64,[^\"]*", "", page, flags=re.DOTALL)
    assert not re.search(r"\bnan\b|\bNaN\b|\bNone\b|\binf\b|Infinity", words)


def _demand_finite(value: Any) -> None:
    if isinstance(value, dict):
        for item in value.values():
            _demand_finite(item)
    elif isinstance(value, list):
        for item in value:
            _demand_finite(item)
    elif isinstance(value, float):
        assert math.isfinite(value)


def test_what_was_not_reached_is_censored_and_not_a_number(say: Say) -> None:
    said = say(FakeStudy(**SMALL, cov_gain=5.0))
    found = said.summary["break_even"]
    assert found["censored"] is True
    assert found["device_seconds"] is None
    assert found["budget_device_seconds"] > 0
    assert "beyond" in said.summary["verdict"]["break_even"]
    assert "&gt; " in said.page


@pytest.mark.parametrize("devices", [("A", "A"), ("A", "B")])
def test_a_ratio_of_seconds_on_two_kinds_of_device_says_so_in_the_same_breath(say: Say, devices) -> None:
    verdict = say(FakeStudy(**SMALL, devices=devices)).summary["verdict"]
    mixed = len(set(devices)) > 1
    assert ("Not on one kind of device (A and B)" in verdict["cost"]) is mixed
    assert ("mixed_hardware" in [caveat["key"] for caveat in verdict["caveats"]][:2]) is mixed


OTHERS = {
    "versions": {"python": "3.11.9", "torch": "2.14.0", "cov-study": "0.1.0"},
    "hardware": {"cpu": "Another CPU", "gpu": None, "num_cpus": 8, "memory_bytes": 1},
    "git_revision": "fedcba9876543210",
    "code": {"root": "/there", "digests": {"trainables": "0123456789ab"}},
}


@pytest.mark.parametrize("resumed", [(OTHERS,), ({"versions": {"torch": "3"}}, OTHERS)], ids=["once", "idle between"])
def test_a_study_resumed_on_other_versions_or_hardware_says_which(say: Say, resumed) -> None:
    said = say(FakeStudy(**SMALL, resumed=resumed))
    told = [caveat["text"] for caveat in said.summary["verdict"]["caveats"] if caveat["key"] == "resumed_on_others"]
    assert told == [
        "The study was resumed on others than it began with, which may move numbers: torch 2.13.0, then 2.14.0; "
        "CPU Imaginary CPU, then Another CPU; git revision 0123456789abcdef, then fedcba9876543210."
    ]
    assert html.unescape(said.page).count(told[0]) == 1


@pytest.mark.parametrize("resumed", [(), ({},), ({"versions": {"torch": "2.13.0"}},)], ids=["never", "old", "same"])
def test_a_study_resumed_on_the_same_or_by_an_earlier_version_says_nothing(say: Say, resumed) -> None:
    caveats = say(FakeStudy(**SMALL, resumed=resumed)).summary["verdict"]["caveats"]
    assert "resumed_on_others" not in {caveat["key"] for caveat in caveats}


def test_tuning_that_gained_nothing_leaves_no_margin(say: Say) -> None:
    # Only equal weights were tried, so tuned is equal again up to chance.
    said = say(FakeStudy(**(SMALL | {"num_trials": 1, "seed": 4})))
    found = said.summary["noninferiority"]
    zero = [metric for metric in found if found[metric]["margin"] == 0]
    assert zero, "pick another seed: this one gained by chance"
    assert "zero_margin" in {caveat["key"] for caveat in said.summary["verdict"]["caveats"]}
    for metric in zero:
        assert found[metric]["verdict"] in ("superior", "inconclusive", "inferior")


def test_a_margin_from_the_configuration_is_taken(say: Say) -> None:
    margin = {"psnr": 0.5, "ssim": 0.02, "rmse": 0.002}
    said = say(FakeStudy(**SMALL, margin=margin))
    found = said.summary["noninferiority"]
    assert {metric: found[metric]["margin"] for metric in margin} == margin
    assert {found[metric]["margin_source"] for metric in margin} == {"configuration"}
    assert "default_margin" not in {caveat["key"] for caveat in said.summary["verdict"]["caveats"]}


def test_worse_by_less_than_the_margin_is_not_passed_over(say: Say) -> None:
    said = say(FakeStudy(**SMALL, cov_gain=-0.6, margin={"psnr": 3.0, "ssim": 0.5, "rmse": 0.5}))
    assert said.summary["noninferiority"]["psnr"]["verdict"] == "non-inferior"
    assert said.summary["noninferiority"]["psnr"]["high"] < 0
    assert "non-inferior, though worse" in said.page
    assert "worse_within_margin" in {caveat["key"] for caveat in said.summary["verdict"]["caveats"]}


def test_a_single_loss_that_beats_the_search_is_named(say: Say) -> None:
    # Only equal weights are searched, and they are worse than the single L1.
    said = say(FakeStudy(**(SMALL | {"single_arms": True, "num_trials": 1}), optimum=6.0))
    texts = {caveat["key"]: caveat["text"] for caveat in said.summary["verdict"]["caveats"]}
    assert texts["fixed_arm_better"].startswith("single-l1 needed no search")


def test_a_verdict_that_other_seeds_could_change_says_so(say: Say) -> None:
    said = say(FakeStudy(**SMALL, seed_noise=0.4, cov_gain=-0.6))
    runs = {m: found["mixed_model"]["verdict"] for m, found in said.summary["noninferiority"].items()}
    subjects = {m: found["verdict"] for m, found in said.summary["noninferiority"].items()}
    assert runs != subjects
    assert "runs_change_verdict" in {caveat["key"] for caveat in said.summary["verdict"]["caveats"]}


@pytest.fixture(scope="module")
def random_search(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Real images, trials drawn at random."""
    study = FakeStudy(
        **(SMALL | {"num_trials": 12, "replicates": 2}), tuned_arms=(("tuned", "random"),), simulated=False
    )
    return build_report(study.write(tmp_path_factory.mktemp("random") / "study"))


@pytest.fixture(scope="module")
def learning_search(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A search by TPE; images were kept, and are not to be shown."""
    study = FakeStudy(**(SMALL | {"images": True}), replicates=2, report={"images": False})
    return build_report(study.write(tmp_path_factory.mktemp("learning") / "study"))


def test_random_search_is_exchangeable_and_gets_a_band(random_search: Report) -> None:
    levels = random_search.summary["break_even"]["levels"]
    assert [level["rho"] for level in levels] == [0.5, 0.9]
    assert all(level["exchangeable"] for level in levels)
    assert "expected best of k" in random_search.page.read_text(encoding="utf-8")
    assert "over random orders" in random_search.summary["verdict"]["break_even"]


def test_a_learning_search_is_shown_as_observed(learning_search: Report) -> None:
    page = learning_search.page.read_text(encoding="utf-8")
    assert "incumbent as observed" in page
    assert "expected best of k" not in page
    assert learning_search.summary["break_even"]["exchangeable"] is False


def test_images_can_be_switched_off(learning_search: Report) -> None:
    assert not list((learning_search.page.parent / "figures").glob("images_*"))
    assert "switched off" in learning_search.page.read_text(encoding="utf-8")


def test_real_images_are_not_called_simulated(random_search: Report) -> None:
    for path in random_search.page.parent.rglob("*.svg"):
        assert "simulated" not in path.read_text(encoding="utf-8").lower(), path.name
    assert "simulated" not in random_search.page.read_text(encoding="utf-8").lower()
    assert random_search.summary["simulated"] is False


@pytest.mark.parametrize("num_terms", [1, 2, 3, 5])
def test_any_number_of_terms_has_its_figure(num_terms: int, tmp_path: Path) -> None:
    terms = ("l1", "ssim", "gradient", "perceptual", "edge")[:num_terms]
    arms = {"tuned_arms": ()} if num_terms == 1 else {}
    findings = find(gather(load_state(FakeStudy(**SMALL, terms=terms, **arms).write(tmp_path / "study"))))
    with styled():
        weights_figure, space = weights.draw(findings), weight_space.draw(findings)
    assert weights_figure is not None
    assert all(f">{term}<" in weights_figure.svg for term in terms)
    assert (space is not None) == (num_terms > 2)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    fake = FakeStudy(**SMALL, lose=lambda key: key.endswith("2"), fail=lambda key: key.endswith("t003"))
    directory = fake.write(tmp_path_factory.mktemp("cut") / "study")
    return (directory / "journal.jsonl").read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("part", [0.0, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97])
def test_a_study_can_be_looked_at_at_any_moment(part: float, journal: list[bytes], tmp_path: Path) -> None:
    lines = journal[: int(part * len(journal))]
    (tmp_path / "journal.jsonl").write_bytes(b"".join(lines))
    findings = find(gather(load_state(tmp_path)))
    words = put_into_words(findings)
    page = render(findings, words, make_tables(findings), defaultdict(lambda: None))
    assert "This study is not finished" in page
    assert "unfinished" in {caveat.key for caveat in words.caveats}
    _demand_no_nonsense(page)
    _demand_finite(summarise(findings, words))
    if part in (0.0, 0.2, 0.65):
        make_drawings(findings, tmp_path)


def test_a_score_that_is_missing_is_left_out_and_not_zero(tmp_path: Path) -> None:
    directory = FakeStudy(**SMALL).write(tmp_path / "study")
    state = load_state(directory)
    for trial in state.of_arm("cov"):
        assert trial.scores is not None
        trial.scores["test-01"]["mask"]["psnr"] = None  # type: ignore[index]
        del trial.scores["test-02"]  # type: ignore[attr-defined]
    findings = find(gather(state))
    assert findings.decisive["psnr"].paired.num_subjects == 22
    assert findings.decisive["ssim"].paired.num_subjects == 23
    _demand_finite(summarise(findings, put_into_words(findings)))


HOSTILE = (
    "<script>alert(1)</script>",
    "../../etc/passwd",
    r"a$\frac{x",
    "‮evil",
    "中文",
    "\x00\x1b[31m",
    "%\\input{x}&#",
)


def test_hostile_names_are_inert(build: Build, tmp_path: Any) -> None:
    study = FakeStudy(
        **(SMALL | {"images": True}),
        name="</title><script>alert(2)</script>",
        subject_name=lambda i: f'<img src=x onerror=alert(3)>"{i}',
        automatic_arms=("cov", *HOSTILE),
        terms=("l1", "</script><script>alert(4)</script>", "a|b"),
    )
    verdict = build(study)
    page = verdict.page.read_text(encoding="utf-8")
    assert len(re.findall(r"<script>", page)) == 1
    assert "<img" not in page
    assert "alert(1)&lt;/script&gt;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    outside = [p for p in tmp_path.rglob("*") if p.is_file() and not p.is_relative_to(tmp_path / "study")]
    assert outside == []
    for path in (verdict.page.parent / "figures").glob("*.svg"):
        assert "<script" not in path.read_text(encoding="utf-8").lower()
