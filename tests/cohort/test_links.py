"""What is there is found, through links, or named: no folder is passed over in silence."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from study.commands.app import app
from study.engine.images import obtain
from study.settings.schema import CohortSection
from trainables.cohort import Cohort, CohortConfig, find_cohort
from trainables.cohort.bids import find_sources
from trainables.errors import UserError

T1W = CohortConfig(source_pattern="T1w", target_pattern="ce-gadolinium_T1w")


def _subject(root: Path, name: str, *, session: str = "", ends: tuple[str, ...] = ("T1w", "ce-gadolinium_T1w")) -> Path:
    """A subject's folder with images to be found; finding pairs reads none."""
    anat = root / name / session / "anat"
    anat.mkdir(parents=True, exist_ok=True)
    for end in ends:
        (anat / "_".join(part for part in (name, session, f"{end}.nii.gz") if part)).write_bytes(b"x")
    return root / name


def _link(place: Path, target: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def _ids(cohort: Cohort) -> list[str]:
    return [subject.label for subject in cohort.subjects]


def test_links_are_followed(tmp_path: Path) -> None:
    """Linked subject, session, anat and file, absolute and relative, by way of other links, beside a plain subject."""
    root, store = tmp_path / "bids", tmp_path / "store"
    _subject(root, "sub-1")
    _link(root / "sub-2", _subject(store, "sub-2"))
    _subject(store, "sub-3", session="ses-a")
    _link(root / "sub-3" / "ses-a", store / "sub-3" / "ses-a")
    _subject(root, "sub-3", session="ses-b")
    _subject(store, "sub-4")
    _link(store / "way", store / "sub-4" / "anat")
    _link(root / "sub-4" / "anat", Path("../../store/way"))
    for file in (_subject(store, "sub-5") / "anat").iterdir():
        _link(root / "sub-5" / "anat" / file.name, file)
    _subject(store, "sub-1", ends=("label-brain_mask",))
    _link(root / "derivatives" / "masks", store)
    cohort = find_cohort(root, T1W)
    assert cohort.problems == cohort.left_out == ()
    assert _ids(cohort) == ["sub-1", "sub-2", "sub-3 ses-a", "sub-3 ses-b", "sub-4", "sub-5"]
    assert cohort.subjects[0].mask is not None
    assert all(subject.source.is_relative_to(root) for subject in cohort.subjects)
    assert len(find_sources(root, T1W)) == 6


def test_the_tree_itself_and_its_derivatives_may_be_links(tmp_path: Path) -> None:
    _subject(tmp_path / "store", "sub-1")
    _subject(tmp_path / "work" / "hdbet", "sub-1", ends=("label-brain_mask",))
    _link(tmp_path / "store" / "derivatives", tmp_path / "work")
    _link(tmp_path / "bids", tmp_path / "store")
    (subject,) = find_cohort(tmp_path / "bids", T1W).subjects
    assert subject.mask is not None


@pytest.mark.parametrize("target", [".", "..", "../..", "../../..", "../anat", "/"])
def test_a_link_that_leads_back_ends_nowhere(tmp_path: Path, target: str) -> None:
    root = tmp_path / "bids"
    for name in ("sub-1", "sub-2"):
        _link(_subject(root, name) / "anat" / "again", Path(target))
    _subject(root / "sourcedata", "sub-3")
    _link(root / "derivatives" / "self", Path(".."))
    cohort = find_cohort(root, T1W)
    assert (_ids(cohort), cohort.problems) == (["sub-1", "sub-2"], ())


def test_one_file_reached_twice_is_one_file(tmp_path: Path) -> None:
    """One folder of all images behind every subject's link, and an image linked among the derivatives, too."""
    root, store = tmp_path / "bids", tmp_path / "store"
    for name in ("sub-1", "sub-2"):
        for file in (_subject(tmp_path / "old", name) / "anat").iterdir():
            store.mkdir(exist_ok=True)
            shutil.copy(file, store)
        _link(root / name / "anat", store)
    _link(root / "derivatives" / "x" / "sub-1" / "sub-1_T1w.nii.gz", store / "sub-1_T1w.nii.gz")
    cohort = find_cohort(root, T1W)
    assert (_ids(cohort), cohort.problems, cohort.left_out) == (["sub-1", "sub-2"], (), ())


def test_broken_links_are_said_by_name(tmp_path: Path) -> None:
    """Of folders; an image's is found by its name, and then cannot be read; of other files nobody asks."""
    for number in range(1, 5):
        _subject(tmp_path, f"sub-{number}")
    _link(tmp_path / "sub-1" / "anat" / "sub-1_T1w.json", Path("annex/1"))
    _link(tmp_path / "sub-2" / "ses-2", Path("/absent/ses-2"))
    _link(tmp_path / "sub-3" / "ses-3", Path("ses-3"))  # to itself
    image = tmp_path / "sub-4" / "anat" / "sub-4_T1w.nii.gz"
    image.unlink()
    _link(image, Path("../../annex/4"))
    _link(tmp_path / "sub-5", Path("/absent/sub-5"))
    _link(tmp_path / "derivatives" / "hdbet-1.2", Path("/absent/hdbet"))
    cohort = find_cohort(tmp_path, T1W)
    assert _ids(cohort) == ["sub-1", "sub-2", "sub-3", "sub-4"]
    found = {problem.subject: problem.message for problem in cohort.problems}
    assert list(found) == ["", "sub-2", "sub-3", "sub-5"]
    for name, path, target in (
        ("", "derivatives/hdbet-1.2", "/absent/hdbet"),
        ("sub-2", "sub-2/ses-2", "/absent/ses-2"),
        ("sub-3", "sub-3/ses-3", "ses-3"),
        ("sub-5", "sub-5", "/absent/sub-5"),
    ):
        assert found[name] == f"{tmp_path / path}: is a link to {target}, which is not there; restore it, or remove it"
    with pytest.raises(UserError, match="is a link to /absent/hdbet"):
        find_sources(tmp_path, T1W)
    shutil.rmtree(tmp_path / "derivatives")
    _link(tmp_path / "derivatives", Path("/absent"))
    assert find_cohort(tmp_path, T1W).problems[0].message.startswith(f"{tmp_path / 'derivatives'}: is a link")


def _odd_tree(root: Path) -> Path:
    _subject(root, "sub-01")
    _subject(root, "sub-02", ends=("FLAIR", "T2w", "acq-x_T1w"))
    _subject(root, "sub-02", session="ses-2", ends=("FLAIR",))
    _subject(root, "sub-03", ends=())
    (root / "sub-04").mkdir()
    _subject(root, "SUB-05")
    _subject(root, "sub06")
    (root / "sub-07_T1w.nii.gz").write_bytes(b"x")
    (root / "sub-07_T1w.json").write_text("{}")
    _subject(root, "sub-08", ends=("T1w",))
    (root / "sub-09" / "anat").mkdir(parents=True)
    (root / "sub-09" / "anat" / "T1w.nii.gz").write_bytes(b"x")
    _link(root / "sub-10", Path("sub-01"))
    _subject(root / "derivatives" / "x", "sub-77", ends=("T2w",))
    return root


def test_every_folder_without_a_pair_is_named_and_what_it_holds(tmp_path: Path) -> None:
    cohort = find_cohort(_odd_tree(tmp_path), T1W)
    assert _ids(cohort) == ["sub-01"]
    assert [problem.subject for problem in cohort.problems] == ["sub-08"]
    nothing = "holds no image named sub-*.nii[.gz]"
    assert {found.subject: found.message for found in cohort.left_out} == {
        "SUB-05": "is not called sub-<id>, and was not looked into",
        "sub-02": "holds no pair, but FLAIR (2), T2w (1), acq-x_T1w (1)",
        "sub-03": nothing,
        "sub-04": nothing,
        "sub-07_T1w.nii.gz": "lies in no subject's folder",
        "sub-09": nothing,
        "sub-10": nothing,
        "sub06": "is not called sub-<id>, and was not looked into",
    }


def _check(root: Path, *options: str) -> str:
    """What `cov-study cohort check` prints of a cohort that it finds nothing wrong with."""
    words = ["cohort", "check", str(root), "--sheet", str(root.parent / "sheet.png"), *options]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_check_and_run_name_them(tmp_path: Path, make_bids) -> None:
    root = make_bids(tmp_path / "bids")
    for name in ("sub-05", "sub-06"):
        _subject(root, name, ends=("T2w",))
    printed = _check(root)
    for part in ("2 folder(s) without a pair", "sub-05", "sub-06", "holds no pair, but T2w (1)"):
        assert part in printed
    assert '"left_out"' in _check(root, "--json")
    said: list[str] = []
    assert len(obtain(CohortSection(path=root), tmp_path / "cache", say=said.append).subjects) == 4
    assert said == [f"No pair in sub-05, sub-06: left out (`cov-study cohort check {root}` says what they hold)"]
