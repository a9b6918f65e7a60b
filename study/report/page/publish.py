"""A report's folder: written beside, then put in the place of the old one."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

if TYPE_CHECKING:
    from study.report.figures.style import Drawing
    from study.report.tables.table import Table


def swap_in(
    folder: Path,
    page: str,
    summary: dict[str, Any],
    tables: Mapping[str, "Table | None"],
    drawings: Mapping[str, "Drawing | None"],
) -> None:
    """Replaces `folder` by `index.html`, `summary.json`, `tables/` and `figures/`. One writer at a time."""
    from study.report.tables.table import write_tables

    folder.parent.mkdir(parents=True, exist_ok=True)
    beside, old = folder.with_name(f"{folder.name}.tmp"), folder.with_name(f"{folder.name}.old")
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        for leftover in (beside, old):
            shutil.rmtree(leftover, ignore_errors=True)
        (beside / "tables").mkdir(parents=True)
        (beside / "figures").mkdir()
        (beside / "index.html").write_text(page, encoding="utf-8", newline="\n")
        text = json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False)
        (beside / "summary.json").write_text(text + "\n", encoding="utf-8", errors="replace", newline="\n")
        write_tables([table for table in tables.values() if table is not None], beside / "tables")
        for drawing in (drawing for drawing in drawings.values() if drawing is not None):
            (beside / "figures" / f"{drawing.name}.svg").write_text(drawing.svg, encoding="utf-8", newline="\n")
            (beside / "figures" / f"{drawing.name}.png").write_bytes(drawing.png)
        if folder.exists():
            os.replace(folder, old)
        os.replace(beside, folder)
        shutil.rmtree(old, ignore_errors=True)
