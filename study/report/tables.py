"""The report's tables, each as HTML, CSV, Markdown and LaTeX."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from study.report.evidence import ArmEvidence, Evidence, Floats
from study.report.findings import Findings
from study.report.quantities import BASELINES, QUANTITIES, REGIONS, number, p_value
from study.report.text import clean

SIGNIFICANT = 0.05

LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "±": r"$\pm$", "×": r"$\times$", "\N{MINUS SIGN}": "$-$",
    "\N{NARROW NO-BREAK SPACE}": r"\,", "–": "--", "…": r"\dots{}", "−": "$-$", "†": r"\textsuperscript{\dag}",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table for reading (`shown`, text) and for computing (`values`, numbers), with the best cells marked."""

    name: str
    """File stem; a constant of this program."""
    caption: str
    shown: pd.DataFrame
    """Index: the row headings."""
    values: pd.DataFrame
    best: pd.DataFrame
    """True where a cell is the best of its column; same shape as `shown`."""
    footnote: str = ""

    def html(self) -> str:
        """An HTML table with every name escaped."""
        frame = self.shown.map(clean).rename(index=clean, columns=clean)
        style = frame.style.format(escape="html").format_index(escape="html").format_index(escape="html", axis=1)
        classes = self.best.map(lambda best: "best" if best else "").set_axis(frame.index).set_axis(frame.columns, axis=1)
        style.set_td_classes(classes)
        return style.to_html(exclude_styles=True, table_attributes=f'class="{self.name}"', escape="html")

    def csv(self) -> str:
        """The numbers, unrounded."""
        return self.values.rename(index=clean).to_csv(lineterminator="\n")

    def markdown(self) -> str:
        """A pipe table; the best cells in bold."""
        rows = [[self.shown.index.name or "", *self.shown.columns], ["---", *["---:"] * self.shown.shape[1]]]
        for heading, cells, best in zip(self.shown.index, self.shown.values, self.best.values, strict=True):
            rows.append([heading, *(f"**{cell}**" if mark else cell for cell, mark in zip(cells, best, strict=True))])
        lines = ["| " + " | ".join(_markdown(str(cell)) for cell in row) + " |" for row in rows]
        return "\n".join([self.caption, "", *lines, "", self.footnote]).rstrip() + "\n"

    def latex(self) -> str:
        """A `table` environment for `booktabs`; compiles with pdfLaTeX whatever the names are."""
        frame = self.shown.map(latex).rename(index=latex, columns=latex)
        frame.index.name = None
        marks = self.best.map(lambda best: "font-weight: bold" if best else "").set_axis(frame.index)
        style = frame.style.apply(lambda _: marks.set_axis(frame.columns, axis=1), axis=None)
        body = style.to_latex(hrules=True, convert_css=True, column_format="l" + "r" * frame.shape[1])
        lines = ["% needs \\usepackage{booktabs}", r"\begin{table}", r"\centering", r"\small"]
        lines += [rf"\caption{{{latex(self.caption)}}}", rf"\label{{tab:{self.name.replace('_', '-')}}}", body.strip()]
        if self.footnote:
            lines.append(rf"\par\smallskip {{\footnotesize {latex(self.footnote)}}}")
        return "\n".join([*lines, r"\end{table}"]) + "\n"


def latex(text: str) -> str:
    """Text as pdfLaTeX prints it: special characters escaped, characters its fonts lack as question marks."""
    characters = (LATEX.get(c) or (c if ord(c) < 0x180 else "?") for c in clean(text))
    return "".join(characters)


def _markdown(text: str) -> str:
    escaped = clean(text).replace("\\", "\\\\").replace("|", "\\|").replace("`", "\\`")
    return escaped.replace("<", "&lt;").replace(">", "&gt;").replace("[", "\\[")


# --- the table of the abstract -----------------------------------------------------------------------------------


def results_table(findings: Findings, region: str = "mask") -> Table:
    """Every arm and baseline: test quality, number of trials, device-seconds by purpose."""
    evidence = findings.evidence
    rows: dict[str, dict[str, Any]] = {}
    for name, regions in evidence.baselines.items():
        rows[BASELINES.get(name, name)] = {m: regions[region][m] for m in QUANTITIES} | {"arm": None}
    for arm in evidence.arms.values():
        scores = {m: arm.per_subject(region, m) for m in QUANTITIES} if arm.judged else {}
        rows[arm.label] = scores | {"arm": arm}
    adjusted = {(p.arm, p.metric): p.p_holm for p in findings.pairs} if region == "mask" else {}
    shown: list[dict[str, str]] = []
    values: list[dict[str, Any]] = []
    for row in rows.values():
        arm = row["arm"]
        cells, numbers = {}, {}
        for metric, quantity in QUANTITIES.items():
            mean, sd, n = describe(row.get(metric))
            p = adjusted.get((arm.name, metric)) if arm else None
            star = "*" if p is not None and p < SIGNIFICANT else ""
            spread = "" if sd is None else f" ± {quantity.format(sd)}"
            heading = f"{quantity.label} ({quantity.unit})" if quantity.unit else quantity.label
            cells[heading] = quantity.format(mean) + (spread if mean is not None else "") + star
            numbers |= {f"{metric}_mean": mean, f"{metric}_sd": sd, f"{metric}_n": n, f"{metric}_p_holm": p}
        if region == "mask":
            cost, numbers_of_cost = _cost_cells(arm)
            cells |= cost
            numbers |= numbers_of_cost
        shown.append(cells)
        values.append(numbers)
    index = pd.Index(list(rows), name="Arm")
    frame = pd.DataFrame(shown, index=index)
    numbers_frame = pd.DataFrame(values, index=index)
    return Table(
        name="results" if region == "mask" else f"results_{region}",
        caption=_caption(evidence, region),
        shown=frame,
        values=numbers_frame,
        best=_best(frame, numbers_frame),
        footnote=_footnote(findings, region),
    )


def describe(values: Floats | None) -> tuple[float | None, float | None, int]:
    """Mean, sample SD and number of the finite values; None for what cannot be computed."""
    finite = [] if values is None else values[values == values]
    if not len(finite):
        return None, None, 0
    return float(finite.mean()), float(finite.std(ddof=1)) if len(finite) > 1 else None, len(finite)


def _cost_cells(arm: ArmEvidence | None) -> tuple[dict[str, str], dict[str, Any]]:
    heading = {"search": "Search (s)", "confirmation": "Confirmation (s)", "training": "Training (s)", "total": "Total (s)"}
    if arm is None:
        return {"Trials": "–"} | dict.fromkeys(heading.values(), "–"), {}
    shown = {"Trials": str(len(arm.trials))}
    shown |= {label: number(arm.cost[key] or None, 0) for key, label in heading.items()}
    return shown, {"num_trials": len(arm.trials)} | {f"device_seconds_{k}": arm.cost[k] for k in heading}


def _best(shown: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    best = pd.DataFrame(False, index=shown.index, columns=shown.columns)
    for position, (metric, quantity) in enumerate(QUANTITIES.items()):
        means = pd.to_numeric(values[f"{metric}_mean"])
        if means.notna().any():
            best.iloc[:, position] = (means == (means.max() if quantity.goal == "max" else means.min())).to_numpy()
    return best


def _caption(evidence: Evidence, region: str) -> str:
    simulated = " Simulated cohort." if evidence.simulated else ""
    return (
        f"Test quality {REGIONS[region]}: mean ± SD over {len(evidence.subjects)} test subjects (seeds averaged first)"
        f"{', and paid cost in device-seconds' if region == 'mask' else ''}.{simulated}"
    )


def _footnote(findings: Findings, region: str) -> str:
    candidate = findings.evidence.candidate
    if region != "mask" or candidate is None:
        return "Bold: best mean of the column."
    return (
        f"Bold: best mean of the column. *: differs from {candidate.label} (Wilcoxon signed-rank, Holm-adjusted over "
        f"its pairs, p < {SIGNIFICANT}). Costs are of all attempts, failed and lost ones too."
    )


# --- paired comparisons -------------------------------------------------------------------------------------------


def comparison_table(findings: Findings) -> Table | None:
    """Candidate against reference, all that `study.analysis.inference` says of it; None if they cannot be paired."""
    evidence = findings.evidence
    rows: list[tuple[str, dict[str, str], dict[str, Any]]] = []
    for region, by_metric in findings.comparisons.items():
        for metric, found in by_metric.items():
            quantity, p = QUANTITIES[metric], found.paired
            shown = {
                "N": str(p.num_subjects),
                "Difference": quantity.format(p.difference, signed=True),
                "95 % CI (t)": interval_text(p.t.low, p.t.high, quantity.decimals),
                "95 % CI (BCa)": interval_text(p.bca.low, p.bca.high, quantity.decimals),
                "Wilcoxon p": p_value(p.p_wilcoxon),
                "d_z": number(p.effect_size, 2, signed=True),
                "rank-biserial": number(p.rank_biserial, 2, signed=True),
                "Mixed model": interval_text(found.mixed.low, found.mixed.high, quantity.decimals) if found.mixed else "–",
                "Margin": quantity.format(found.margin.value) if region == "mask" else "–",
                "Verdict": found.verdict if region == "mask" else "–",
            }  # fmt: skip
            values = {
                "n": p.num_subjects, "difference": p.difference, "sd": p.sd, "low": p.t.low, "high": p.t.high,
                "bca_low": p.bca.low, "bca_high": p.bca.high, "p_wilcoxon": p.p_wilcoxon, "d_z": p.effect_size,
                "rank_biserial": p.rank_biserial, "margin": found.margin.value, "verdict": found.verdict,
            }  # fmt: skip
            rows.append((f"{quantity.label}, {region}", shown, values))
    if not rows or evidence.candidate is None or evidence.reference is None:
        return None
    index = pd.Index([row[0] for row in rows], name="Metric, region")
    shown_frame = pd.DataFrame([row[1] for row in rows], index=index)
    return Table(
        name="comparison",
        caption=(
            f"{evidence.candidate.label} less {evidence.reference.label}, paired by test subject; positive favours "
            f"{evidence.candidate.label} in every metric.{' Simulated cohort.' if evidence.simulated else ''}"
        ),
        shown=shown_frame,
        values=pd.DataFrame([row[2] for row in rows], index=index),
        best=pd.DataFrame(False, index=index, columns=shown_frame.columns),
        footnote="The lower end of the t interval decides: above the negative margin is non-inferior, above 0 superior.",
    )


def interval_text(low: float | None, high: float | None, decimals: int) -> str:
    """`−0.10 to +0.23`, or a dash."""
    if low is None or high is None:
        return "–"
    return f"{number(low, decimals, signed=True)} to {number(high, decimals, signed=True)}"


def write_tables(tables: Sequence[Table], folder: Any) -> None:
    """Writes each table as CSV, Markdown and LaTeX."""
    for table in tables:
        for suffix, text in (("csv", table.csv()), ("md", table.markdown()), ("tex", table.latex())):
            with io.open(folder / f"{table.name}.{suffix}", "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
