"""Paired differences of the automatic arm from all others, subject by subject."""

from study.report.figures import differences, psnr_ssim
from study.report.sections.section import Section, by_name
from study.report.tables.comparisons import comparison_tables

TABLES = ("comparison", "comparison_regions", "mixed_model", "pairs")

SECTION = Section(
    name="paired",
    title="Paired differences",
    link="Differences",
    template="differences.html",
    tables=lambda findings: by_name(TABLES, comparison_tables(findings)),
    drawings=lambda findings, folder: {
        "differences": differences.draw_forest(findings),
        "subjects": differences.draw_subjects(findings),
        "psnr_ssim": psnr_ssim.draw(findings),
    },
)
