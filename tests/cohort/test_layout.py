"""Pairs are found in BIDS trees and manifests, or what hinders it is said."""

from pathlib import Path

import pytest

from trainables.cohort import CohortConfig, find_cohort
from trainables.cohort.bids import find_sources
from trainables.errors import UserError

T1W = CohortConfig(source_pattern="T1w", target_pattern="ce-gadolinium_T1w")


def _touch(root: Path, *names: str) -> Path:
    """Makes files; finding pairs reads no image."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def _names(path: Path | None) -> str:
    return "" if path is None else path.name


def test_a_plain_tree(tmp_path: Path) -> None:
    for name in ("sub-b", "sub-a"):
        for end in ("T1w.nii.gz", "ce-gadolinium_T1w.nii", "label-brain_mask.NII.GZ", "T2w.nii.gz", "T1w.json"):
            _touch(tmp_path, f"{name}/anat/{name}_{end}")
    _touch(tmp_path, "sub-a/anat/._sub-a_T1w.nii.gz", "sub-a/anat/sub-a_label-lesion_mask.nii.gz", "sourcedata/x.nii")
    cohort = find_cohort(tmp_path, T1W)
    assert cohort.problems == ()
    assert [subject.id for subject in cohort.subjects] == ["sub-a", "sub-b"]
    first, second = cohort.subjects
    assert first.source.name == "sub-a_T1w.nii.gz"
    assert first.target.name == "sub-a_ce-gadolinium_T1w.nii"
    assert _names(first.mask) == "sub-a_label-brain_mask.NII.GZ"
    assert _names(first.lesion) == "sub-a_label-lesion_mask.nii.gz"
    assert second.lesion is None
    assert (first.split, first.group, first.scan) == (None, None, "")


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("T1w", "sub-1_T1w.nii.gz", True),
        ("T1w", "sub-1_ses-2_run-3_T1w.nii.gz", True),
        ("T1w", "sub-1_acq-early_T1w.nii.gz", False),
        ("_T1w.nii.gz", "sub-1_T1w.nii", True),
        ("acq-early_T1w", "sub-1_ses-2_acq-early_run-1_T1w.nii.gz", True),
        ("acq-early_ce-gad_T1w", "sub-1_ce-gad_acq-early_T1w.nii.gz", True),
        ("acq-early_T1w", "sub-1_acq-early_T2w.nii.gz", False),
        ("acq-early_T1w", "sub-1_acq-earlyish_T1w.nii.gz", False),
        ("acq-early*_T1w", "sub-1_acq-earlyish_T1w.nii.gz", True),
        ("ses-1_T1w", "sub-1_ses-1_T1w.nii.gz", True),
        ("ses-1_T1w", "sub-1_ses-2_T1w.nii.gz", False),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, name: str, fits: bool) -> None:
    _touch(tmp_path, f"sub-1/anat/{name}", f"sub-1/anat/{name.rsplit('_', 1)[0]}_PDw.nii.gz")
    entities = [part for part in name.split("_")[1:-1] if part[:3] not in ("ses", "run") or part[:4] in pattern]
    config = CohortConfig(source_pattern=pattern, target_pattern="_".join([*entities, "PDw"]))
    if fits:
        (subject,) = find_cohort(tmp_path, config).subjects
        assert subject.source.name == name
    else:
        with pytest.raises(UserError, match=r"no pair found.*no source"):
            find_cohort(tmp_path, config)


def test_sessions_and_runs_pair_with_their_own(tmp_path: Path) -> None:
    for scan in ("ses-1_run-1", "ses-1_run-2", "ses-2"):
        folder = f"sub-1/{scan[:5]}/anat"
        _touch(tmp_path, f"{folder}/sub-1_{scan}_T1w.nii.gz", f"{folder}/sub-1_{scan}_ce-gadolinium_T1w.nii.gz")
    _touch(tmp_path, "sub-1/ses-1/anat/sub-1_ses-1_label-brain_mask.nii.gz", "sub-1/sub-1_label-lesion_mask.nii")
    _touch(tmp_path, "sub-2/ses-1/anat/sub-2_ses-1_T1w.nii", "sub-2/ses-1/anat/sub-2_ses-1_ce-gadolinium_T1w.nii")
    cohort = find_cohort(tmp_path, T1W)
    found = [(s.id, s.scan, s.source.name, s.target.name, _names(s.mask), _names(s.lesion)) for s in cohort.subjects]
    brain, lesion = "sub-1_ses-1_label-brain_mask.nii.gz", "sub-1_label-lesion_mask.nii"
    assert found == [
        ("sub-1", scan, f"sub-1_{scan}_T1w.nii.gz", f"sub-1_{scan}_ce-gadolinium_T1w.nii.gz", mask, lesion)
        for scan, mask in (("ses-1_run-1", brain), ("ses-1_run-2", brain), ("ses-2", ""))
    ] + [("sub-2", "", "sub-2_ses-1_T1w.nii", "sub-2_ses-1_ce-gadolinium_T1w.nii", "", "")]


def test_source_and_target_in_two_sessions(tmp_path: Path) -> None:
    _touch(tmp_path, "sub-1/ses-early/anat/sub-1_ses-early_T1w.nii", "sub-1/ses-late/anat/sub-1_ses-late_T1w.nii")
    config = CohortConfig(source_pattern="ses-early_T1w", target_pattern="ses-late_T1w")
    (subject,) = find_cohort(tmp_path, config).subjects
    assert (subject.source.name, subject.target.name) == ("sub-1_ses-early_T1w.nii", "sub-1_ses-late_T1w.nii")


def test_masks_among_derivatives(tmp_path: Path) -> None:
    _touch(tmp_path, "sub-1/anat/sub-1_T1w.nii", "sub-1/anat/sub-1_ce-gadolinium_T1w.nii")
    _touch(tmp_path, "derivatives/hdbet/sub-1/anat/sub-1_desc-brain_mask.nii.gz")
    config = T1W.model_copy(update={"mask_pattern": "desc-brain_mask"})
    assert _names(find_cohort(tmp_path, config).subjects[0].mask) == "sub-1_desc-brain_mask.nii.gz"


def test_problems_of_single_subjects_do_not_hide_the_others(tmp_path: Path) -> None:
    pair = ("T1w.nii.gz", "ce-gadolinium_T1w.nii.gz")
    for name in ("sub-1", "sub-4"):
        _touch(tmp_path, *(f"{name}/anat/{name}_{end}" for end in pair))
    _touch(tmp_path, "sub-2/anat/sub-2_T1w.nii.gz", "sub-3/anat/sub-3_ce-gadolinium_T1w.nii.gz")
    _touch(tmp_path, "sub-4/anat/sub-4_T1w.nii", "sub-5/anat/sub-5_T2w.nii.gz")
    cohort = find_cohort(tmp_path, T1W)
    assert [subject.id for subject in cohort.subjects] == ["sub-1"]
    assert [problem.subject for problem in cohort.problems] == ["sub-2", "sub-3", "sub-4"]
    no_target, no_source, two = (problem.message for problem in cohort.problems)
    assert "no target (*_ce-gadolinium_T1w.nii[.gz])" in no_target
    assert "no source (*_T1w.nii[.gz])" in no_source
    assert "two files can be the source" in two
    assert "sub-4_T1w.nii.gz" in two


def test_two_masks_are_a_question(tmp_path: Path) -> None:
    _touch(tmp_path, "sub-1/anat/sub-1_T1w.nii", "sub-1/anat/sub-1_ce-gadolinium_T1w.nii")
    _touch(tmp_path, "sub-2/anat/sub-2_T1w.nii", "sub-2/anat/sub-2_ce-gadolinium_T1w.nii")
    _touch(tmp_path, "sub-1/anat/sub-1_label-brain_mask.nii", "derivatives/x/sub-1/sub-1_label-brain_mask.nii")
    (problem,) = find_cohort(tmp_path, T1W).problems
    assert "two files can be the mask" in problem.message


def test_nothing_found_says_what_was_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"looked for sub-\*_T1w.*there is nothing"):
        find_cohort(tmp_path, T1W)
    _touch(tmp_path, "pairs.csv")
    with pytest.raises(UserError, match=r"if pairs\.csv is a manifest, give its path"):
        find_cohort(tmp_path, T1W)
    for number in (1, 2):
        _touch(tmp_path, f"sub-{number}/anat/sub-{number}_ses-1_acq-mprage_T1w.nii.gz")
    _touch(tmp_path, "sub-1/anat/sub-1_FLAIR.nii.gz", "sub-1/anat/sub-1.nii.gz")
    with pytest.raises(UserError, match=r"there are acq-mprage_T1w \(2\), FLAIR \(1\): set source_pattern"):
        find_cohort(tmp_path, T1W)
    config = CohortConfig(source_pattern="FLAIR", target_pattern="T2w")
    with pytest.raises(UserError, match=r"there are acq-mprage.*for instance, sub-1: no target \(\*_T2w"):
        find_cohort(tmp_path, config)
    with pytest.raises(UserError, match="no such cohort"):
        find_cohort(tmp_path / "absent", T1W)


def _tree(root: Path, num_subjects: int = 2) -> Path:
    for number in range(1, num_subjects + 1):
        name = f"sub-{number}"
        _touch(root, f"{name}/anat/{name}_T1w.nii", f"{name}/anat/{name}_ce-gadolinium_T1w.nii")
    return root


def test_participants(tmp_path: Path) -> None:
    _tree(tmp_path)
    table = tmp_path / "participants.tsv"
    table.write_text("participant_id\tage\tsplit\tgroup\nsub-1\t60\ttrain\tn/a\n2\tn/a\ttest\tglioma\nsub-9\t1\t\t\n")
    one, two = find_cohort(tmp_path, T1W).subjects
    assert (one.split, one.group, two.split, two.group) == ("train", None, "test", "glioma")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("participant_id\tsplit\nsub-1\ttrain\nsub-2\tval\n", "sub-2 has split 'val'; use train, validation or test"),
        ("participant_id\tsplit\nsub-1\ttrain\nsub-2\tn/a\n", "sub-2 has no split while others have"),
        ("participant_id\tsplit\nsub-1\ttrain\n", "no row for sub-2; its rows are sub-1; write"),
        ("participant_id\tsplit\nsub-1\ttrain\nsub-1\ttest\n", "sub-1 has rows that differ in split: test and train"),
        ("participant_id\tgroup\nsub-1\ta\nsub-1\tb\n", "sub-1 has rows that differ in group: a and b"),
        ("participant_id\tsplt\nsub-1\ttrain\n", "'splt' looks like a split"),
        ("participant_id\tSplit\nsub-1\ttrain\nsub-2\ttest\n", "'Split' looks like a split, .* rename it to 'split'"),
        ("participant_id\tML_split\nsub-1\t1\nsub-2\t2\n", "'ML_split' looks like a split"),
        ("participant_id\tset\nsub-1\tTraining\nsub-2\tTest\n", "'set' looks like a split"),
        ("participant_id\tset\nsub-1\ttrain\nsub-2\n\nJos\xe9\ttest\n", "'set' looks like a split"),
        ("subject\tsplit\nsub-1\ttrain\n", "lacks the column 'participant_id'"),
        ("participant_id\tsplit\nsub-1\n", "line 2 has 1 cells, the header 2"),
        ("participant_id\tname\tsplit\nsub-1\tJos\xe9\ttrain\n", "not UTF-8"),
        ("participant_id\tsplit\n", "has a header and no rows"),
    ],
)
def test_participants_that_cannot_be_followed(tmp_path: Path, text: str, message: str) -> None:
    (_tree(tmp_path) / "participants.tsv").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=message) as raised:
        find_cohort(tmp_path, T1W)
    assert "participants.tsv" in str(raised.value)


@pytest.mark.parametrize("column", ["split", "group"])
@pytest.mark.parametrize("number", [*(f"{form}{{}}" for form in ("sub-0", "SUB-", "Sub-", "sub_", "sub- ", "0", "s"))])
def test_who_is_who_is_never_guessed(tmp_path: Path, column: str, number: str) -> None:
    """Rows of other ids than the folders' would be dropped, and the split drawn anew: test subjects in training."""
    table = _tree(tmp_path, 4) / "participants.tsv"
    values = ("train", "validation", "test", "test") if column == "split" else ("a", "a", "b", "b")
    for others in (4, 1):  # none of the folders' ids, and all but one
        ids = [number.format(n) if n <= others else f"sub-{n}" for n in range(1, 5)]
        table.write_text(
            f"participant_id\t{column}\n" + "".join(f"{i}\t{v}\n" for i, v in zip(ids, values, strict=True))
        )
        with pytest.raises(UserError, match=r"no row for .*rows without a folder") as raised:
            find_cohort(tmp_path, T1W)
        for name in [f"sub-{n}" for n in range(1, others + 1)] + ids[:others]:
            assert name in str(raised.value)
        assert str(table) in str(raised.value)
        assert "\n" not in str(raised.value)


def test_ids_of_a_large_cohort_are_shown_in_part(tmp_path: Path) -> None:
    table = _tree(tmp_path, 12) / "participants.tsv"
    table.write_text("participant_id\tsplit\n" + "".join(f"sub-{n:03d}\ttrain\n" for n in range(1, 200)))
    with pytest.raises(UserError, match=r"no row for sub-1, sub-10, .* and 7 more; rows .* sub-001, .* and 194 more"):
        find_cohort(tmp_path, T1W)


def test_a_row_a_session_is_fine_where_rows_agree(tmp_path: Path) -> None:
    table = _tree(tmp_path) / "participants.tsv"
    rows = "sub-1\t1\ttrain\tA\nsub-1\t2\ttrain\tA\nsub-2\t1\ttest\t\nsub-2\t2\ttest\t\n"
    table.write_text("participant_id\tsession\tsplit\tgroup\n" + rows)
    one, two = find_cohort(tmp_path, T1W).subjects
    assert (one.split, one.group, two.split, two.group) == ("train", "A", "test", None)


@pytest.mark.parametrize(
    "content",
    [
        b"participant_id\tsession\nsub-1\t1\nsub-1\t2\n",
        b"participant_id\tage\nsub-1\nsub-2\t1\t2\n",
        b"participant_id\tname\nsub-1\tJos\xe9\n",
        b"participant_id\tGroup\nsub-1\tA\n",
        b"participant_id\tGroup\tgroups\nsub-1\tA\tB\n",
        b"id\tage\tage\nsub-001\t1\t2\n",
        b"participant_id\tsplit\tgroup\nsub-001\tn/a\t\nsub-001\t\t\n",
        'participant_id\tname\nsub-1\t"x\n'.encode("utf-16"),
        b"participant_id\n",
        b"",
    ],
)
def test_a_table_is_read_strictly_only_for_what_is_used(tmp_path: Path, content: bytes) -> None:
    (_tree(tmp_path) / "participants.tsv").write_bytes(content)
    assert [(s.id, s.split, s.group) for s in find_cohort(tmp_path, T1W).subjects] == [
        ("sub-1", None, None),
        ("sub-2", None, None),
    ]


def test_a_split_column_in_utf_16_is_not_overlooked(tmp_path: Path) -> None:
    text = "participant_id\tsplit\nsub-1\ttrain\nsub-2\ttest\n"
    (_tree(tmp_path) / "participants.tsv").write_text(text, encoding="utf-16")
    with pytest.raises(UserError, match="not UTF-8"):
        find_cohort(tmp_path, T1W)


def test_a_table_that_is_a_broken_link_is_not_an_absent_one(tmp_path: Path) -> None:
    (_tree(tmp_path) / "participants.tsv").symlink_to("annex/none")
    with pytest.raises(UserError, match=r"participants\.tsv: cannot be read"):
        find_cohort(tmp_path, T1W)


def test_description(tmp_path: Path) -> None:
    _tree(tmp_path)
    assert (find_cohort(tmp_path, T1W).name, find_cohort(tmp_path, T1W).simulated) == ("", False)
    (tmp_path / "dataset_description.json").write_text('{"Name": "Heads", "Simulated": true}')
    assert (find_cohort(tmp_path, T1W).name, find_cohort(tmp_path, T1W).simulated) == ("Heads", True)
    (tmp_path / "dataset_description.json").write_text("[not json")
    assert find_cohort(tmp_path, T1W).name == ""


# Manifests


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_manifest(tmp_path: Path, delimiter: str) -> None:
    rows = [
        ["subject", "source", "target", "mask", "lesion", "split", "scanner"],
        ["Zoë", "a b/früh.nii.gz", "/data/late.nii", "", "les.nii", "test", "3T"],
        ["anna", "x.nii", "y.nii", "m.nii", "n/a", "train", ""],
    ]
    path = tmp_path / "pairs.csv"
    text = "\r\n".join(delimiter.join(row) for row in rows) + "\r\n\r\n"
    path.write_text(text, encoding="utf-8-sig", newline="")
    anna, zoe = sorted(find_cohort(path, CohortConfig()).subjects, key=lambda subject: subject.id.lower())
    assert (zoe.id, zoe.split, zoe.mask, zoe.lesion) == ("Zoë", "test", None, tmp_path / "les.nii")
    assert zoe.source == tmp_path / "a b" / "früh.nii.gz"
    assert zoe.target == Path("/data/late.nii")
    assert (anna.mask, anna.lesion, anna.scan) == (tmp_path / "m.nii", None, "")


def test_a_subject_scanned_twice(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("subject,source,target\na,1,2\nb,3,4\na,5,6\n")
    subjects = find_cohort(path, CohortConfig()).subjects
    assert [(s.id, s.scan, s.source.name) for s in subjects] == [
        ("a", "scan-1", "1"),
        ("a", "scan-2", "5"),
        ("b", "", "3"),
    ]


def test_a_row_given_twice_is_not_two_scans(tmp_path: Path) -> None:
    """Also by another path to the same files, or by a link; one source with two targets is two scans."""
    _touch(tmp_path, "x/1", "x/2", "x/3")
    (tmp_path / "y").symlink_to("x")
    (tmp_path / "one").symlink_to("x/1")
    path = tmp_path / "pairs.csv"
    path.write_text("subject,source,target\na,x/1,x/2\na,x/1,x/3\nb,x/1,x/2\n")
    assert find_cohort(path, CohortConfig()).problems == ()
    for row in ("x/1,x/2", f"{tmp_path}/x/1,./x/../x/2", "y/1,x/2", "one,y/2"):
        path.write_text(f"subject,source,target\nb,x/1,x/2\na,x/1,x/2\na,x/1,x/3\na,{row}\n")
        (problem,) = find_cohort(path, CohortConfig()).problems
        assert problem.subject == "a"
        assert f"{path}: a has the same pair twice" in problem.message
        assert "as scan-1 and as scan-3; keep it once" in problem.message


def test_a_session_linked_twice_is_not_two_scans(tmp_path: Path) -> None:
    for end in ("T1w.nii", "ce-gadolinium_T1w.nii"):
        _touch(tmp_path, f"sub-1/ses-1/anat/sub-1_ses-1_{end}")
        (tmp_path / "sub-1/ses-2/anat").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"sub-1/ses-2/anat/sub-1_ses-2_{end}").symlink_to(tmp_path / f"sub-1/ses-1/anat/sub-1_ses-1_{end}")
    (problem,) = find_cohort(tmp_path, T1W).problems
    assert "as ses-1 and as ses-2" in problem.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the table is empty"),
        (b"subject,source,target\n", "has a header and no rows"),
        (b"subject,source\na,b\n", "lacks the column 'target'"),
        (b"file,what\na,b\n", "lacks the column 'subject'; its header is file, what"),
        (b"subject,source,target,target\na,b,c,d\n", "column 'target' occurs twice"),
        (b"subject,source,target,spilt\na,b,c,train\n", "'spilt' looks like a split"),
        (b"subject,source,target,set\na,b,c,train\nd,e,f,test\n", "'set' looks like a split"),
        (b"subject,source,target,Mask\na,b,c,d\n", "did you mean 'mask'"),
        (b"subject,source,target\na,b\n", "line 2 has 2 cells, the header 3"),
        (b"subject,source,target\na,b,c,d\n", "line 2 has 4 cells, the header 3"),
        (b"subject,source,target\na,,c\n", "pair 1 lacks its subject, source or target"),
        (b"subject,source,target,split\na,b,c,train\nd,e,f,\n", "d has no split"),
        (b"subject,source,target,split\na,b,c,dev\n", "a has split 'dev'"),
        ("subject,source,target\nZoë,b,c\n".encode("latin-1"), "not UTF-8"),
        ("subject,source,target\na,b,c\n".encode("utf-16"), "not UTF-8"),
        (b"subject,source,target\na,b\0,c\n", "not a"),
        (b'subject,source,target\na,"b"x,c\n', "not a readable table"),
        (b"\x1f\x8b\x08\x00rubbish\xff", "not UTF-8"),
    ],
)
def test_manifests_that_cannot_be_followed(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as raised:
        find_cohort(path, CohortConfig())
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_sources_without_targets(tmp_path: Path) -> None:
    """New patients have no targets yet; masks go by session, as in pairs."""
    _touch(
        tmp_path, "sub-b/anat/sub-b_T1w.nii.gz", "sub-b/anat/sub-b_label-brain_mask.nii.gz",
        "sub-a/ses-2/anat/sub-a_ses-2_T1w.nii", "sub-a/ses-1/anat/sub-a_ses-1_T1w.nii",
        "sub-a/ses-1/anat/sub-a_ses-1_label-brain_mask.nii", "sub-a/ses-1/anat/sub-a_ses-1_ce-gadolinium_T1w.nii",
        "sub-c/anat/sub-c_T2w.nii",
    )  # fmt: skip
    assert [(path.name, _names(mask)) for path, mask in find_sources(tmp_path, T1W)] == [
        ("sub-a_ses-1_T1w.nii", "sub-a_ses-1_label-brain_mask.nii"),
        ("sub-a_ses-2_T1w.nii", ""),
        ("sub-b_T1w.nii.gz", "sub-b_label-brain_mask.nii.gz"),
    ]
    with pytest.raises(UserError, match=r"no source found; looked for sub-\*_T1w\.nii\[\.gz\]"):
        find_sources(_touch(tmp_path / "other", "sub-c/anat/sub-c_T2w.nii"), T1W)
    _touch(tmp_path, "sub-b/anat/sub-b_T1w.nii")
    with pytest.raises(UserError, match="two files can be the source"):
        find_sources(tmp_path, T1W)
