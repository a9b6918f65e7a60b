"""A picture of a cohort on one page: a wrong pair or a bad registration shows at a glance."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from trainables.cohort.check import CohortReport, Thumbnail
from trainables.errors import UserError
from trainables.files import replacing

SIDE = 128
"""Pixels of an image's longer side."""
_CAPTION, _GAP, _NUM_COLUMNS = 18, 6, 3
_LIMIT = 0.5
_BACKGROUND, _TEXT, _OUTLINE, _FAULT = (24, 24, 24), (230, 230, 230), (255, 210, 60), (255, 110, 90)


def contact_sheet(report: CohortReport, path: Path) -> None:
    """Writes a PNG: for every scan the middle slices of source, target and difference with the mask's outline.

    Raises:
        UserError: the file cannot be written.
    """
    width, height = 3 * SIDE + _GAP, SIDE + _CAPTION + _GAP
    num_columns = max(min(_NUM_COLUMNS, len(report.rows)), 1)
    num_lines = max(-(-len(report.rows) // num_columns), 1)
    heading = [
        report.summary["dataset"] + (" - simulated, not patients" if report.summary["simulated"] else ""),
        "source | target | target - source, with the mask's outline",
        f"difference: light blue -{_LIMIT:g}, black 0, light red +{_LIMIT:g} of the source's range",
    ]
    top = len(heading) * _CAPTION + _GAP
    sheet = Image.new("RGB", (num_columns * width + _GAP, top + num_lines * height), _BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for line, text in enumerate(heading):
        draw.text((_GAP, 2 + line * _CAPTION), text, _TEXT, font)
    for index, row in enumerate(report.rows):
        left, upper = _GAP + index % num_columns * width, top + index // num_columns * height
        thumbnail = report.thumbnails.get(row["pseudonym"])
        psnr = row.get("identity_psnr_db")
        caption = f"{row['pseudonym']}  {row['split'] or ''}" + (f"  {psnr:.1f} dB" if psnr is not None else "")
        if row["num_problems"]:
            caption += f"  {row['num_problems']} problem(s)"
        draw.text((left, upper), caption, _FAULT if row["num_problems"] else _TEXT, font)
        if thumbnail:
            sheet.paste(_triple(thumbnail), (left, upper + _CAPTION))
    try:
        with replacing(path) as beside:
            sheet.save(beside, format="PNG")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def _triple(thumbnail: Thumbnail) -> Image.Image:
    """Source, target and difference side by side, (SIDE, 3 * SIDE) pixels."""
    images = (_grey(thumbnail.source), _grey(thumbnail.target), _signed(thumbnail.target - thumbnail.source))
    strip = Image.new("RGB", (3 * SIDE, SIDE), _BACKGROUND)
    height, width = thumbnail.mask.shape
    zoom = SIDE / max(height, width)
    size = (max(round(width * zoom), 1), max(round(height * zoom), 1))
    # Enlarged before it is traced, so that the outline stays one pixel wide.
    mask = np.asarray(Image.fromarray(thumbnail.mask).resize(size, Image.Resampling.NEAREST))
    for index, pixels in enumerate(images):
        image = np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
        image[_outline(mask)] = _OUTLINE
        strip.paste(Image.fromarray(image), (index * SIDE + (SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return strip


def _outline(mask: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_erosion

    return mask & ~binary_erosion(mask)


def _grey(values: np.ndarray) -> np.ndarray:
    levels = (np.clip(values, 0, 1) * 255).astype(np.uint8)
    return np.stack([levels] * 3, axis=-1)


def _signed(values: np.ndarray) -> np.ndarray:
    from matplotlib import colormaps

    share = np.clip(values / _LIMIT, -1, 1) / 2 + 0.5
    return colormaps["berlin"](share, bytes=True)[..., :3]
