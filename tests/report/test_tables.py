"""Tables as text that other programs read."""

import csv
import io
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from study.report.tables.table import Table, latex, plain_table, unique

NASTY = (r"a_b & 50 % of $x$ #1 {~^} \input{x}", "<b>|`[x](y)`", "±×−–…’·", "中文 \x07", "")


@pytest.fixture
def nasty() -> Table:
    rows = [(name, {"value": name, "number": "1"}, {"n": i}) for i, name in enumerate(NASTY)]
    return plain_table("nasty", NASTY[0], rows, NASTY[1], simulated=True)


def test_every_latex_table_compiles(whole: Path, nasty: Table, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex on this machine")
    names = []
    for source in sorted((whole / "report" / "tables").glob("*.tex")):
        shutil.copy(source, tmp_path)
        names.append(source.stem)
    (tmp_path / "nasty.tex").write_text(nasty.latex(), encoding="utf-8")
    inputs = "\n".join(rf"\input{{{name}}}\clearpage" for name in [*names, "nasty"])
    document = rf"\documentclass{{article}}\usepackage[T1]{{fontenc}}\usepackage{{booktabs}}\begin{{document}}{inputs}"
    (tmp_path / "all.tex").write_text(document + r"\end{document}", encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "all.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_latex_has_no_character_that_its_fonts_lack() -> None:
    assert latex("a_b ± 1 − 2 中") == r"a\_b $\pm$ 1 $-$ 2 ?"
    assert latex("\\input{x}") == r"\textbackslash{}input\{x\}"


def test_markdown_rows_have_as_many_cells_as_the_header(nasty: Table) -> None:
    lines = [line for line in nasty.markdown().splitlines() if line.startswith("| ")]
    assert len(lines) == 2 + len(NASTY)
    cells = [line.replace("\\|", "").count("|") for line in lines]
    assert set(cells) == {4}
    assert "<b>" not in nasty.markdown()


def test_csv_keeps_the_numbers_unrounded(whole: Path) -> None:
    frame = pd.read_csv(whole / "report" / "tables" / "results.csv", index_col=0)
    assert frame.loc["cov", "psnr_n"] == 24
    subjects = pd.read_csv(whole / "subjects.csv")
    cov = subjects.query("arm == 'cov' and region == 'mask' and metric == 'psnr'")
    means = cov.groupby("subject")["value"].mean()
    assert frame.loc["cov", "psnr_mean"] == pytest.approx(means.mean(), rel=1e-14)
    assert frame.loc["cov", "psnr_sd"] == pytest.approx(means.std(ddof=1), rel=1e-14)


def test_best_of_each_metric_is_bold_in_its_direction(whole: Path) -> None:
    text = (whole / "report" / "tables" / "results.md").read_text(encoding="utf-8")
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in text.splitlines() if line.startswith("| ")}
    numbers = pd.read_csv(whole / "report" / "tables" / "results.csv", index_col=0)
    for column, (metric, best) in enumerate({"psnr": "idxmax", "ssim": "idxmax", "rmse": "idxmin"}.items(), start=1):
        winner = getattr(numbers[f"{metric}_mean"], best)()
        assert [name for name, cells in rows.items() if cells[column].startswith("**")] == [winner]


def test_names_that_cleaning_makes_equal_stay_apart() -> None:
    assert unique(["a", "a", "\x00", "\x01", "b"]) == ["a", "a (2)", "\ufffd", "\ufffd (2)", "b"]


def test_csv_is_read_back_by_a_csv_reader(nasty: Table) -> None:
    rows = list(csv.reader(io.StringIO(nasty.csv())))
    assert len(rows) == 1 + len(NASTY)
    assert [row[1] for row in rows[1:]] == ["0", "1", "2", "3", "4"]
