"""The loader: whatever valid header is drawn, the same image; whatever is damaged, a clear refusal."""

import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel.affines import from_matvec
from nibabel.eulerangles import euler2mat
from nibabel.orientations import apply_orientation, inv_ornt_aff, ornt_transform

from trainables.cohort.nifti import MAX_NONFINITE_SHARE, load_grid, load_mask, load_volume
from trainables.errors import UserError

CANONICAL = np.array([[0, 1], [1, 1], [2, 1]])
IN_TMP = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, np.ndarray, np.ndarray]:
    """A NIfTI file's bytes, and the canonical array (float64) and affine that they stand for."""
    shape = tuple(draw(st.integers(2, 6)) for _ in range(3))
    dtype = np.dtype(draw(st.sampled_from(["u1", "i1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    limits = (0 if dtype.kind == "u" else -100, 120)
    raw = (rng.uniform(*limits, shape) if dtype.kind == "f" else rng.integers(*limits, shape)).astype(dtype)
    raw[0, 0, 0], raw[-1, -1, -1] = limits
    angles = [draw(st.floats(-0.3, 0.3)) for _ in range(3)]
    sizes = [draw(st.floats(0.3, 5)) for _ in range(3)]
    affine = from_matvec(euler2mat(*angles) @ np.diag(sizes), [draw(st.floats(-200, 200)) for _ in range(3)])
    # The same voxels in another order of axes and directions, and the affine that goes with them.
    order = draw(st.permutations(range(3)))
    stored_as = np.array([[axis, draw(st.sampled_from([-1, 1]))] for axis in order])
    to_stored = ornt_transform(CANONICAL, stored_as)
    stored = apply_orientation(raw, to_stored)
    stored_affine = affine @ inv_ornt_aff(to_stored, shape)
    if draw(st.booleans()):
        stored = stored[..., None]
    kind, image = draw(st.sampled_from([(nib.Nifti1Header, nib.Nifti1Image), (nib.Nifti2Header, nib.Nifti2Image)]))
    header = kind(endianness=draw(st.sampled_from("<>")))
    header.set_data_dtype(dtype)
    written = image(stored, None, header)
    which = draw(st.sampled_from(["sform", "qform", "both"]))
    written.set_sform(stored_affine, code=1 if which != "qform" else 0, update_affine=False)
    written.set_qform(stored_affine, code=1 if which != "sform" else 0, update_affine=False)
    content = bytearray(written.to_bytes())
    slope, inter = draw(st.sampled_from([(np.nan, np.nan), (0.0, 5.0), (1.0, 0.0), (0.05, -12.5), (-2.0, 3.0)]))
    final = kind(bytes(content[: kind.sizeof_hdr]), endianness=header.endianness)
    final["scl_slope"], final["scl_inter"] = slope, inter
    content[: kind.sizeof_hdr] = final.binaryblock
    value = raw.astype(np.float64)
    if np.isfinite(slope) and slope != 0:
        value = value * np.float64(final["scl_slope"]) + np.float64(final["scl_inter"])
    return bytes(content), value, affine


@IN_TMP
@given(file=files(), packing=st.sampled_from(["plain", "gzip", "members", "padded"]))
def test_every_valid_file_gives_the_same_canonical_image(
    tmp_path: Path, file: tuple[bytes, np.ndarray, np.ndarray], packing: str
) -> None:
    content, expected, affine = file
    half = len(content) // 2
    packed = {
        "plain": content,
        "gzip": gzip.compress(content),
        "members": gzip.compress(content[:half]) + gzip.compress(content[half:]),
        "padded": gzip.compress(content) + bytes(100),
    }[packing]
    path = tmp_path / ("image.nii" if packing == "plain" else "image.nii.gz")
    path.write_bytes(packed)
    volume = load_volume(path)
    assert volume.data.dtype == np.float32
    np.testing.assert_allclose(volume.data, expected, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(volume.grid.affine, affine, atol=5e-3)  # a qform's quaternion is float32
    assert volume.notes == ()
    alone = load_grid(path)
    assert alone.shape == volume.data.shape
    np.testing.assert_array_equal(alone.affine, volume.grid.affine)
    # nibabel's own reading of the same file.
    theirs = nib.as_closest_canonical(nib.squeeze_image(nib.load(path)))
    np.testing.assert_allclose(theirs.get_fdata(), volume.data, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(theirs.affine, volume.grid.affine, atol=1e-9)


def _packed(shape: tuple[int, int, int] = (5, 6, 4)) -> tuple[bytes, np.ndarray]:
    data = np.random.default_rng(0).integers(0, 500, shape).astype(np.int16)
    return gzip.compress(nib.Nifti1Image(data, np.eye(4)).to_bytes(), mtime=0), data


def _load_or_refuse(path: Path) -> np.ndarray | str:
    """The image, or the message of the refusal; anything else is a crash."""
    try:
        return load_volume(path).data
    except UserError as error:
        return str(error)


def _refused_or_exact(path: Path, content: bytes, data: np.ndarray) -> bool:
    path.write_bytes(content)
    outcome = _load_or_refuse(path)
    if isinstance(outcome, str):
        assert str(path) in outcome
        assert "\n" not in outcome
        return True
    np.testing.assert_array_equal(outcome, data)
    return False


def test_every_flipped_bit_of_a_gzip_is_refused_or_harmless(tmp_path: Path) -> None:
    content, data = _packed((4, 3, 5))
    refused = 0
    for index in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[index] ^= 1 << bit
            refused += _refused_or_exact(tmp_path / "image.nii.gz", bytes(damaged), data)
    # Only the time stamp, flags and name of the gzip header can change without harm.
    assert refused >= 8 * (len(content) - 10)


@IN_TMP
@given(data=st.data())
def test_overwritten_and_cut_gzips_are_refused_or_harmless(tmp_path: Path, data: st.DataObject) -> None:
    content, image = _packed((20, 20, 20))
    start = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        damaged = content[:start]
    else:
        patch = data.draw(st.binary(min_size=1, max_size=64))
        damaged = (content[:start] + patch + content[start + len(patch) :])[: len(content)]
    refused = _refused_or_exact(tmp_path / "image.nii.gz", damaged, image)
    assert refused or damaged[10:] == content[10:]


def _header(**fields: object) -> bytes:
    header = nib.Nifti1Header()
    header.set_data_shape((8, 9, 10))
    header.set_data_dtype(np.int16)
    header.set_sform(np.eye(4), 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    block = bytearray(header.binaryblock + bytes(4))
    for name, value in fields.items():
        place = nib.Nifti1Header.template_dtype.fields[name]
        block[place[1] : place[1] + place[0].itemsize] = np.asarray(value).astype(place[0].base).tobytes()
    return bytes(block)


def _file(**fields: object) -> bytes:
    return _header(**fields) + np.arange(8 * 9 * 10 * 16, dtype=np.int16).tobytes()


def _floats(share: float, value: float) -> bytes:
    data = np.random.default_rng(0).normal(size=(10, 10, 10)).astype(np.float32)
    data.reshape(-1)[: round(share * 1000)] = value
    return nib.Nifti1Image(data, np.eye(4)).to_bytes()


DAMAGED = {
    "empty": (b"", "is empty"),
    "short": (_file()[:200], "too short for a NIfTI header"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
    "annex": (b"/annex/objects/SHA256E-s123--4d7a.nii.gz\n", "git annex get"),
    "dicom": (bytes(128) + b"DICM" + bytes(5000), "is not a NIfTI file"),
    "html": (b"<!DOCTYPE html><html>Sign in" + bytes(500), "is not a NIfTI file"),
    "gzipped text": (gzip.compress(b"hello " * 200), "is not a NIfTI file"),
    "pair": (_file(magic=b"ni1"), "half of an Analyze or NIfTI pair"),
    "analyze": (_file(magic=b""), "half of an Analyze or NIfTI pair"),
    "truncated": (_file()[:1500], "truncated"),
    "truncated gzip": (gzip.compress(_file())[:-5000], "truncated"),
    "absurd size": (_file(dim=[3, 30000, 30000, 30000, 1, 1, 1, 1]), "absurd shape"),
    "more than packed": (gzip.compress(_file(dim=[3, 900, 900, 900, 1, 1, 1, 1])), "truncated"),
    "negative side": (_file(dim=[3, 8, -9, 10, 1, 1, 1, 1]), "claims the shape"),
    "zero side": (_file(dim=[3, 8, 0, 10, 1, 1, 1, 1]), "claims the shape"),
    "nine dimensions": (_file(dim=[9, 8, 9, 10, 1, 1, 1, 1]), "claims 9 dimensions"),
    "2-D": (_file(dim=[2, 8, 9, 1, 1, 1, 1, 1]), "not a volume"),
    "one slice": (_file(dim=[3, 8, 9, 1, 1, 1, 1, 1]), "not a volume"),
    "4-D": (_file(dim=[4, 8, 9, 10, 2, 1, 1, 1]), "holds 2 volumes"),
    "5-D": (_file(dim=[5, 8, 9, 10, 1, 3, 1, 1]), "holds 3 volumes"),
    "RGB": (_file(datatype=128, bitpix=24), "colour"),
    "RGBA": (_file(datatype=2304, bitpix=32), "colour"),
    "complex": (_file(datatype=32, bitpix=64), "complex"),
    "no data type": (_file(datatype=0), "header is wrong"),
    "unheard-of data type": (_file(datatype=777), "header is wrong"),
    "no orientation": (_file(sform_code=0, qform_code=0), "no orientation"),
    "zero voxel size": (_file(pixdim=[1, 2, 0, 2, 1, 1, 1, 1]), "voxel size"),
    "NaN voxel size": (_file(pixdim=[1, 2, np.nan, 2, 1, 1, 1, 1]), "voxel size"),
    "singular affine": (_file(srow_z=[1, 0, 0, 0]), "singular"),
    "NaN affine": (_file(srow_x=[np.nan, 0, 0, 0]), "singular or not finite"),
    "impossible quaternion": (_file(sform_code=0, qform_code=1, quatern_b=0.9, quatern_c=0.9), "header is wrong"),
    "data inside the header": (_file(vox_offset=100), "header"),
    "NaN offset": (_file(vox_offset=np.nan), "header"),
    "infinite intercept": (_file(scl_slope=2, scl_inter=np.inf), "header is wrong"),
    "all zero": (_header() + bytes(8 * 9 * 10 * 2), "every voxel is 0"),
    "constant": (_header() + np.full(720, 7, np.int16).tobytes(), "every voxel is 7"),
    "many NaN": (_floats(0.05, np.nan), "5.0% of the voxels are NaN or infinite"),
    "many inf": (_floats(0.05, -np.inf), "5.0% of the voxels are NaN or infinite"),
    "overflow": (_file(scl_slope=3e38), "NaN or infinite"),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED)
def test_damage_is_refused_in_one_clear_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "Möller, early scan.nii.gz"
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        load_volume(path)
    assert message in str(raised.value)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_a_plain_file_is_what_the_damaged_ones_are_made_from(tmp_path: Path) -> None:
    path = tmp_path / "image.nii"
    path.write_bytes(_file())
    expected = np.arange(720, dtype=np.float32).reshape((8, 9, 10), order="F")
    np.testing.assert_array_equal(load_volume(path).data, expected)


@pytest.mark.parametrize("name", ["IMAGE.NII.GZ", "image.nii", "a scan of Zoë (2).nii.gz", "image.img"])
def test_names_do_not_matter(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    content, data = _packed()
    path.write_bytes(content)
    np.testing.assert_array_equal(load_volume(path).data, data)


@pytest.mark.parametrize(
    "fields", [{"pixdim": [0, 2, 2, 2, 1, 1, 1, 1]}, {"pixdim": [1, -2, 2, 2, 1, 1, 1, 1]}, {"qform_code": 99}]
)
def test_common_slips_of_headers_are_mended(tmp_path: Path, fields: dict[str, object]) -> None:
    path = tmp_path / "image.nii"
    path.write_bytes(_file(**fields))
    assert load_volume(path).data.shape == (8, 9, 10)


def test_a_few_bad_voxels_are_filled_and_said(tmp_path: Path) -> None:
    path = tmp_path / "image.nii"
    path.write_bytes(_floats(MAX_NONFINITE_SHARE, np.inf))
    volume = load_volume(path)
    assert np.isfinite(volume.data).all()
    assert volume.notes == ("10 NaN or infinite voxels filled with their neighbours' mean",)


def test_places_that_hold_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.nii.gz").mkdir()
    (tmp_path / "link.nii.gz").symlink_to("gone.nii.gz")
    os.mkfifo(tmp_path / "pipe.nii.gz")
    expected = {
        "absent.nii.gz": "no such file",
        "folder.nii.gz": "is a folder",
        "link.nii.gz": "link to a file that is not here",
        "pipe.nii.gz": "folder or device",
    }
    for name, message in expected.items():
        with pytest.raises(UserError, match=message):
            load_volume(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "image.nii.gz"
    path.write_bytes(_packed()[0])
    path.chmod(0)
    with pytest.raises(UserError, match="cannot be read"):
        load_volume(path)


def test_a_gzip_bomb_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(_file() + bytes(100 << 20)))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="more bytes than its header says"):
            load_volume(path)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("num_bytes", [-1, 0, 1, 257, 258, 259, 1 << 17])
def test_streams_that_end_where_a_piece_does(tmp_path: Path, num_bytes: int) -> None:
    """Zeros pack so well that output is still to come when all input is consumed."""
    shape = (64, 64, 32 + (num_bytes > 1000))
    data = np.zeros(shape, dtype=np.uint8)
    data[0, 0, 0] = 1
    path = tmp_path / "image.nii.gz"
    path.write_bytes(gzip.compress(nib.Nifti1Image(data, np.eye(4)).to_bytes() + bytes(max(num_bytes, 0))))
    np.testing.assert_array_equal(load_volume(path).data, data)


def test_a_mask_is_cut_at_one_half(tmp_path: Path) -> None:
    values = np.array([0, 0.4, 0.51, 0.99999997, 255, 0, 0, 1], dtype=np.float32).reshape(2, 2, 2)
    path = tmp_path / "mask.nii"
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    mask = load_mask(path).data
    assert mask.dtype == bool
    assert mask.reshape(-1).tolist() == [False, False, True, True, True, False, False, True]


def test_header_flips_of_a_plain_file_never_crash(tmp_path: Path) -> None:
    """A plain file has no checksum; but no header may bring the loader down."""
    content = _file()
    path = tmp_path / "image.nii"
    rng = np.random.default_rng(1)
    for index in [*range(352)] * 3:
        damaged = bytearray(content)
        damaged[index] = rng.integers(256)
        path.write_bytes(damaged)
        outcome = _load_or_refuse(path)
        if isinstance(outcome, str):
            assert outcome.startswith(f"{path}: ")
        else:
            assert np.isfinite(outcome).all()


def test_big_endian_header_is_told_by_its_size_field(tmp_path: Path) -> None:
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    image = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4), header)
    content = image.to_bytes()
    assert struct.unpack(">i", content[:4]) == (348,)
    (tmp_path / "image.nii").write_bytes(content)
    np.testing.assert_array_equal(
        load_volume(tmp_path / "image.nii").data, np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    )
