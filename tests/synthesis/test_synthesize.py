"""`cov-study synthesize`: a model of a real study on new images, as they come."""

import io
import pickle
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from rich.console import Console

from study.commands.bars import Bars
from study.engine.images import obtain
from study.record.events import StudyBegun
from study.record.journal import read_events
from study.record.record import Record, load_state
from study.record.state import StudyState
from study.settings.reading import validate
from study.synthesis.apply import synthesize
from study.synthesis.models import choose_trial
from tests.commands.command import cov_study
from tests.docs.blocks import ROOT, blocks
from trainables.cohort.nifti import load_volume
from trainables.errors import UserError
from trainables.slices import Slices
from trainables.training import score_subject

SETTINGS = (
    "-o", "cohort.prepare.neighbours=1", "-o", "cohort.prepare.axis=coronal", "-o", "training.eval_batch_size=5",
    "-o", "arms={equal: {}, cov: {seeds: 2}, tuned: {budget: {trials: 1}, seeds: 1}}",
)  # fmt: skip
ORIENTATIONS = ("LAS", "LPS", "LPI", "ASR", "PIR")
DATA = ROOT.parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real images are not on this machine")


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """A finished study of coronal slices with their neighbours. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("studies")
    (folder / "mlflow.yml").write_text("tracking: {mirror: none}\n")
    done = cov_study("run", "--preset", "smoke", "--out", "study", *SETTINGS, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "study"


@pytest.fixture(scope="module")
def state(study) -> StudyState:
    return load_state(study)


@pytest.fixture(scope="module")
def bids(study) -> Path:
    """The images that the study was made of."""
    return next((study.parent / "cohorts").glob("virtual-*"))


@pytest.fixture
def pair(bids) -> tuple[Path, Path]:
    """One source and its mask."""
    anat = sorted(bids.glob("sub-*"))[0] / "anat"
    return next(anat.glob("*acq-early*T1w.nii.gz")), next(anat.glob("*label-brain_mask.nii.gz"))


def said(study: Path, source: Path, out: Path, **options) -> str:
    """Synthesises, and returns what was said."""
    stream = io.StringIO()
    shown(study, source, out, Console(file=stream, width=300), **options)
    return stream.getvalue()


def shown(study: Path, source: Path, out: Path, console: Console, **options) -> None:
    """Synthesises, with progress bars on the console."""
    with Bars(console) as bars:
        synthesize(study, source, out, onlooker=bars, **{"arm": "cov"} | options)


@pytest.mark.parametrize("key", ["equal-s1", "cov-s2", "tuned-r0-confirm-s1"])
def test_scores_are_those_of_the_journal(study, state, bids, tmp_path, key):
    """The whole BIDS folder, through files: each test subject has the scores that the trial itself measured."""
    config = validate(state.info.config, "test").cohort
    cohort = obtain(config, study.parent / "cohorts")
    lines = said(study, bids, tmp_path / "out", arm=None, key=key)
    assert "warning: " not in "".join(line for line in lines.splitlines() if "intensities" not in line)
    written = sorted((tmp_path / "out").rglob("*.nii.gz"))
    assert len(written) == len(cohort.subjects) == 8
    for subject in cohort.split("test"):
        path = written[int(subject.pseudonym.removeprefix("subject-")) - 1]
        prediction = torch.from_numpy(subject.geometry.slices(load_volume(path).data))
        scores = score_subject(Slices(cohort), subject, prediction)
        expected = state.trials[key].scores[subject.pseudonym]
        assert scores.keys() == expected.keys()
        for region, values in expected.items():
            assert scores[region] == pytest.approx(values, rel=1e-7, abs=1e-6), (path, region)


def test_affine_and_header_are_kept(study, pair, tmp_path):
    """Oblique, with codes, units, texts and a scaling; no header extension, which may name a patient, comes along."""
    image = nib.as_closest_canonical(nib.load(pair[0]))
    turned = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.1, 0.05, -0.1), [1, 2, 3]) @ image.affine
    for kind, name in ((nib.Nifti1Image, "one.nii"), (nib.Nifti2Image, "two.nii.gz")):
        stored = kind((image.get_fdata() * 3).astype(np.int16), turned)
        header = stored.header
        header.set_sform(turned, 4)
        header.set_qform(turned, 1)
        header.set_xyzt_units("mm", "sec")
        header["descrip"], header["cal_max"] = b"TE=3.1;Time=100", 900
        header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Doe^Jane"))
        nib.save(stored, tmp_path / name)
        mask = tmp_path / f"mask-{name}"
        nib.save(kind(np.asarray(nib.as_closest_canonical(nib.load(pair[1])).dataobj), turned), mask)
        said(study, tmp_path / name, tmp_path / f"out-{name}", mask=mask)
        source, out = nib.load(tmp_path / name), nib.load(tmp_path / f"out-{name}")
        assert type(out) is type(source)
        np.testing.assert_array_equal(out.affine, source.affine)
        storage = {"datatype", "bitpix", "scl_slope", "scl_inter", "vox_offset"}
        for field in set(source.header.keys()) - storage:
            np.testing.assert_array_equal(out.header[field], source.header[field], err_msg=field)
        assert out.get_data_dtype() == np.float32
        (extension,) = out.header.extensions
        assert extension.get_content().decode().rstrip("\0").startswith("Synthesised, not acquired: cov-study")
        # Back in the input's units: after so few steps the network leaves the image nearly as it was.
        inside = nib.load(mask).get_fdata() > 0
        assert 0.5 < np.median(out.get_fdata()[inside]) / np.median(source.get_fdata()[inside]) < 2


@pytest.mark.parametrize("origin", ["virtual", pytest.param("real", marks=needs_data)])
def test_the_same_in_world_space_however_it_is_stored(study, pair, tmp_path, origin):
    source, mask = pair
    if origin == "real":
        anat = DATA / "real" / "sub-ms19" / "anat"
        source, mask = anat / "sub-ms19_T1w.nii.gz", anat / "sub-ms19_label-brain_mask.nii.gz"
    images, masks = tmp_path / "images", tmp_path / "masks"
    for path, folder in ((source, images), (mask, masks)):
        folder.mkdir()
        image = nib.load(path)
        nib.save(image, folder / "RAS.nii.gz")
        ras = nib.as_closest_canonical(image)
        for name in ORIENTATIONS:
            turn = nib.orientations.ornt_transform(
                nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(name)
            )
            nib.save(ras.as_reoriented(turn), folder / f"{name}.nii.gz")
    lines = said(study, images, tmp_path / "out", mask=masks)
    assert ("warning" in lines) == (origin == "real")
    assert ("voxel size: 2 x 2 x 2 mm, trained on 8 x 8 x 8 mm" in lines) == (origin == "real")
    reference = nib.as_closest_canonical(nib.load(tmp_path / "out" / "RAS.nii.gz"))
    inside = nib.as_closest_canonical(nib.load(mask)).get_fdata() > 0.5
    assert reference.get_fdata()[inside].std() > 0
    for name in ORIENTATIONS:
        stored, out = nib.load(images / f"{name}.nii.gz"), nib.load(tmp_path / "out" / f"{name}.nii.gz")
        assert "".join(nib.aff2axcodes(out.affine)) == name
        np.testing.assert_array_equal(out.affine, stored.affine)
        assert out.shape == stored.shape
        canonical = nib.as_closest_canonical(out)
        np.testing.assert_array_equal(canonical.get_fdata(), reference.get_fdata())
        np.testing.assert_allclose(canonical.affine, reference.affine, atol=1e-4)


@needs_data
def test_awkward_files(study, tmp_path):
    """One anatomy, stored in many ways, gives one result; what is damaged is named, and the others are done."""
    source, out, stream = DATA / "awkward", tmp_path / "out", io.StringIO()
    with pytest.raises(UserError, match="images cannot be used"):
        shown(study, source, out, Console(file=stream, width=300))
    for name in ("constant", "corrupt_gz_middle", "fourD_3vol", "no_sform_no_qform", "truncated_gz"):
        assert f"\n{source / name}.nii.gz: " in stream.getvalue()
        assert not (out / f"{name}.nii.gz").exists()
    reference = nib.load(out / "reference_int16.nii.gz").get_fdata()
    for name in ("orient_ASR.nii.gz", "orient_LPI.nii.gz", "fourD_singleton.nii.gz", "big_endian_int16.nii"):
        written = nib.load(out / name)
        assert written.shape == nib.load(source / name).shape
        np.testing.assert_array_equal(written.affine, nib.load(source / name).affine)
        np.testing.assert_array_equal(nib.as_closest_canonical(written).get_fdata().squeeze(), reference)


def test_warnings_say_what_is_unlike_the_training(study, pair, tmp_path):
    source, mask = pair
    assert "warning" not in said(study, source, tmp_path / "as-trained.nii.gz", mask=mask)
    assert "mask: none given" in said(study, source, tmp_path / "unmasked.nii.gz")
    image, region = nib.load(source), nib.load(mask)
    data, inside = image.get_fdata(), region.get_fdata() > 0
    mended = data.astype(np.float32)
    mended[0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(mended, image.affine), tmp_path / "mended.nii.gz")
    lines = said(study, tmp_path / "mended.nii.gz", tmp_path / "filled.nii.gz", mask=mask)
    assert "warning: " in lines
    assert "1 NaN or infinite voxels filled with" in lines
    odd = {
        "voxel size: 16 x 16 x 16 mm, trained on 8 x 8 x 8 mm": (data, inside, 2),
        "shape: what is inside the mask spans": (data, inside & (np.indices(data.shape)[2] > 9), 1),
        "intensities: the histogram": (np.where(inside, (data / data.max()) ** 16, 0), inside, 1),
    }
    for warning, (voxels, where, factor) in odd.items():
        affine = image.affine @ np.diag([factor, factor, factor, 1])
        nib.save(nib.Nifti1Image(voxels.astype(np.float32), affine), tmp_path / "odd.nii.gz")
        nib.save(nib.Nifti1Image(where.astype(np.uint8), affine), tmp_path / "mask.nii.gz")
        lines = said(study, tmp_path / "odd.nii.gz", tmp_path / "out.nii.gz", mask=tmp_path / "mask.nii.gz", force=True)
        assert warning in lines


def test_the_model_of_an_arm_is_its_best_validated_one(study, state):
    best = {key: max(m.metrics["val/psnr"] for m in state.trials[key].measurements) for key in ("cov-s1", "cov-s2")}
    assert choose_trial(state, study, arm="cov", key=None).key == max(best, key=lambda key: best[key])
    assert choose_trial(state, study, arm="tuned", key=None).key == "tuned-r0-confirm-s1"
    assert choose_trial(state, study, arm="cov", key="cov-s2").key == "cov-s2"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arm": "cvo"}, "--arm cvo: study has no such arm; did you mean 'cov'?"),
        ({"arm": None}, "give --arm (one of equal, cov, tuned), or --trial"),
        ({"key": "cov-s9"}, "--trial cov-s9: study has no such trial; did you mean 'cov-s"),
        ({"key": "equal-s1"}, "--trial equal-s1: belongs to arm equal, not cov"),
        ({"arm": None, "key": "tuned-r0-t000"}, "is a trial of a search, which keeps no models; use --arm tuned"),
        ({"mask": Path("absent.nii.gz")}, "absent.nii.gz: no such file"),
    ],
)
def test_a_model_or_mask_that_is_not_there(study, pair, tmp_path, options, message):
    with pytest.raises(UserError) as caught:
        said(study, pair[0], tmp_path / "out.nii.gz", **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_arm_that_is_not_trained_yet(study, tmp_path):
    """The journal as it stood before the last trial of each arm was complete."""
    lines = (study / "journal.jsonl").read_bytes().splitlines(keepends=True)
    ended = next(n for n, line in enumerate(lines) if b'"attempt_ended"' in line)
    (tmp_path / "journal.jsonl").write_bytes(b"".join(lines[:ended]))
    state = load_state(tmp_path)
    running = next(trial for trial in state.trials.values() if trial.state == "running")
    with pytest.raises(UserError, match="has no model yet"):
        choose_trial(state, tmp_path, arm="cov", key=None)
    if running.role != "search":
        with pytest.raises(UserError, match="is running, and has no model yet"):
            choose_trial(state, tmp_path, arm=None, key=running.key)


def test_places_for_the_result(study, pair, tmp_path):
    source = tmp_path / "in.nii.gz"
    shutil.copy(pair[0], source)
    out = tmp_path / "out.nii.gz"
    out.write_bytes(b"mine")
    for place, force, message in (
        (out, False, "exists; give another place, or --force"),
        (source, True, "would be written over an input"),
        (tmp_path, False, "is a folder, but"),
        (tmp_path / "out.mgz", False, "give a name that ends in .nii.gz"),
        (source / "out.nii.gz", False, "cannot be written"),
    ):
        with pytest.raises(UserError) as caught:
            said(study, source, place, force=force)
        assert message in str(caught.value)
    assert out.read_bytes() == b"mine"
    said(study, source, out, force=True)
    assert nib.load(out).shape == nib.load(source).shape
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.nii.gz", "out.nii.gz"]


def test_a_folder_is_done_as_far_as_it_can_be(study, pair, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    with pytest.raises(UserError, match=r"holds no \.nii"):
        said(study, folder, out)
    shutil.copy(pair[0], folder / "b.nii.gz")
    (folder / "a.nii.gz").write_bytes(pair[0].read_bytes()[:2000])
    (folder / "notes.txt").write_text("not an image")
    stream = io.StringIO()
    with pytest.raises(UserError, match=r"1 of 2 images cannot be used.*the others are in"):
        shown(study, folder, out, Console(file=stream, width=300))
    assert f"{folder / 'a.nii.gz'}: truncated" in stream.getvalue()
    assert [path.name for path in out.iterdir()] == ["b.nii.gz"]
    with pytest.raises(UserError, match="exists"):
        said(study, folder, out)
    with pytest.raises(UserError, match=r"a\.nii\.gz: no such mask"):
        said(study, folder, tmp_path / "masked", mask=out)


def test_a_terminal_gets_a_bar_of_slices(study, pair, tmp_path):
    stream = io.StringIO()
    console = Console(file=stream, width=120, force_terminal=True)
    shown(study, pair[0], tmp_path / "out.nii.gz", console, mask=pair[1])
    depth = nib.as_closest_canonical(nib.load(pair[1])).get_fdata().any(axis=(0, 2)).sum()
    assert f"{depth}/{depth}" in stream.getvalue()


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("model.safetensors", lambda content: content[:-40], "model.safetensors: damaged"),
        ("model.safetensors", lambda content: content[:-1] + bytes([content[-1] ^ 1]), "damaged or changed"),
        ("model.safetensors", None, "model.safetensors: cannot be read"),
        ("model.json", None, "model.json: cannot be read"),
        ("model.json", lambda content: content[:-5], "model.json: cannot be used"),
        ("model.json", lambda content: content.replace(b'"channels": [4', b'"channels": [8'), "does not fit the net"),
        ("model.json", lambda content: content.replace(b'"domain"', b'"domian"'), "preparation.domain: Field required"),
    ],
)
def test_a_model_that_is_damaged(study, pair, tmp_path, name, damage, message):
    copy = tmp_path / "study"
    shutil.copytree(study, copy, ignore=shutil.ignore_patterns("report", "optuna"))
    for path in copy.glob(f"checkpoints/cov-s*/{name}"):
        content = path.read_bytes()
        path.unlink()
        if damage is not None:
            assert damage(content) != content
            path.write_bytes(damage(content))
    with pytest.raises(UserError) as caught:
        said(copy, pair[0], tmp_path / "out.nii.gz")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_network_of_ones_own(study, pair, tmp_path):
    """Its file lies in a folder of `module_path`, its name in `model.json`."""
    copy, modules = tmp_path / "study", tmp_path / "modules"
    shutil.copytree(study, copy, ignore=shutil.ignore_patterns("report", "optuna", "journal.jsonl"))
    modules.mkdir()
    (modules / "synthesis_network.py").write_text("from trainables.networks import unet as make\n")
    with Record(copy) as record:
        for stamped in read_events(study / "journal.jsonl"):
            event = stamped.event
            if isinstance(event, StudyBegun):
                config = event.document["config"] | {"module_path": [str(modules)]}
                event = StudyBegun(document={**event.document, "config": config})
            record.append(event)
    for path in copy.glob("checkpoints/cov-s*/model.json"):
        path.write_text(path.read_text().replace('"name": "unet"', '"name": "synthesis_network:make"'))
    said(copy, pair[0], tmp_path / "own.nii.gz", mask=pair[1])
    said(study, pair[0], tmp_path / "built-in.nii.gz", mask=pair[1])
    own, built_in = (nib.load(tmp_path / f"{name}.nii.gz").get_fdata() for name in ("own", "built-in"))
    np.testing.assert_array_equal(own, built_in)


def test_nothing_is_unpickled(study, pair, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)
    said(study, pair[0], tmp_path / "out.nii.gz")


def test_the_documented_python(study, pair, tmp_path, monkeypatch):
    (shown,) = (block for block in blocks(ROOT / "docs" / "synthesize.md") if block.language == "python")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "demo").symlink_to(study)
    for path, name in zip(pair, ("early.nii.gz", "brain.nii.gz"), strict=True):
        shutil.copy(path, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    exec(shown.text, {})
    said(study, pair[0], tmp_path / "command.nii.gz", arm=None, key="cov-s1", mask=pair[1])
    by_hand, by_command = (nib.load(tmp_path / name).get_fdata() for name in ("synthetic.nii.gz", "command.nii.gz"))
    np.testing.assert_array_equal(by_hand, by_command)


def test_the_command(study, pair, tmp_path):
    """As a user runs it: the path on standard output, the rest beside it, and an exit status."""
    arguments = ("synthesize", str(study), "--arm", "cov", str(pair[0]), "out.nii.gz", "--mask", str(pair[1]))
    done = cov_study(*arguments, folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "out.nii.gz\n"), done.stderr
    assert done.stderr.startswith("Model: trial cov-s")
    assert done.stderr.count("\n") == 1
    again = cov_study(*arguments, folder=tmp_path)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == "cov-study: out.nii.gz: exists; give another place, or --force to replace it\n"
