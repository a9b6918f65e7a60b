"""The sections of a study's page, in their order. A new one is a module here, its template, and a line below."""

from study.report.sections import cost, differences, images, ledger, methods, results, tuning, verdict, weights

SECTIONS = (
    verdict.SECTION,
    results.SECTION,
    cost.SECTION,
    tuning.SECTION,
    differences.SECTION,
    weights.SECTION,
    images.SECTION,
    ledger.SECTION,
    methods.SECTION,
)
