"""The command `cov-study`. Everything slow is imported inside the command that needs it."""

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from study.commands import cohort, estimate, launch, mlflow, report, run, status, synthesize
from trainables.errors import UserError

app = typer.Typer(
    name="cov-study",
    help="Are automatically weighted losses worth it? Hand-tuned loss weights against coefficient-of-variation "
    "weighting, in quality and compute cost.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cohort_app = typer.Typer(no_args_is_help=True, help="Simulate a cohort, or check one before it is used.")
app.add_typer(cohort_app, name="cohort")

for command, example in (
    (run.run, "run --preset demo --out runs/demo"),
    (run.resume, "resume runs/demo"),
    (estimate.estimate, "estimate --preset demo"),
    (launch.launch, "launch slurm study.yaml --nodes 4 --gpus 2 --dry-run"),
    (status.status, "status runs/demo"),
    (report.report, "report runs/demo"),
    (report.compare, "compare runs/demo runs/other --out comparison"),
    (mlflow.sync, "sync runs/demo"),
    (mlflow.ui, "ui"),
    (synthesize.synthesize, "synthesize runs/demo --arm cov early.nii.gz synthetic.nii.gz"),
):
    app.command(epilog=f"Example: `cov-study {example}`")(command)
for cohort_command, example in (
    (cohort.simulate, "simulate cohorts/virtual --subjects 80"),
    (cohort.check, "check data/bids"),
):
    cohort_app.command(epilog=f"Example: `cov-study cohort {example}`")(cohort_command)


def main() -> None:
    """Runs the command line: one line on stderr for what a user can mend, exit status as documented."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no minus sign must not end a study
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    try:
        app(standalone_mode=True)
    except UserError as error:
        if debug:
            raise
        print(f"cov-study: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        if debug:
            raise
        print("Interrupted.", file=sys.stderr)
        sys.exit(run.INTERRUPTED)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Versions of cov-study and of what its numbers rest on.")
    ] = False,
    debug: Annotated[  # for the help alone: `main` takes it from anywhere in the line
        bool, typer.Option("--debug", help="Show where an error comes from; anywhere in the line.")
    ] = False,
) -> None:
    if version:
        from study.record.environment import versions
        from trainables.extensions import packages

        found = versions()
        print(f"cov-study {found.pop('cov-study', 'unknown')}")
        print("  ".join(f"{name} {number}" for name, number in found.items()))
        if offering := packages():
            print(f"with user-defined components of {', '.join(offering)}")
        raise typer.Exit
