"""The command `cov-study`. Everything slow is imported inside the command that needs it."""

import json
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from trainables.errors import UserError

FAILED_TRIALS, INTERRUPTED = 3, 130

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

Out = Annotated[Path | None, typer.Option("--out", help="The study's folder; by default runs/<name>.")]
Override = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--override",
        metavar="KEY.PATH=VALUE",
        help="Set one key of the configuration.",
        autocompletion=lambda incomplete: _keys(incomplete),
    ),
]
Address = Annotated[str | None, typer.Option(help="A Ray cluster to use, for example `auto` or `10.0.0.1:6379`.")]
Config = Annotated[Path | None, typer.Argument(metavar="CONFIG.yaml", help="The study's configuration.")]
Preset = Annotated[
    str | None,
    typer.Option(
        help="`smoke`, `demo` or `paper`, instead of a file.", autocompletion=lambda incomplete: _presets(incomplete)
    ),
]
CohortPath = Annotated[Path | None, typer.Option("--cohort", help="A BIDS folder or a CSV manifest.")]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A study's folder.")]


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
        _fail(str(error))
    except KeyboardInterrupt:
        if debug:
            raise
        print("Interrupted.", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _fail(message: str) -> None:
    print(f"cov-study: {message}", file=sys.stderr)
    sys.exit(1)


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
        from study.environment import versions
        from trainables.extensions import packages

        found = versions()
        print(f"cov-study {found.pop('cov-study', 'unknown')}")
        print("  ".join(f"{name} {number}" for name, number in found.items()))
        if offering := packages():
            print(f"with parts of {', '.join(offering)}")
        raise typer.Exit


@app.command(epilog="Example: `cov-study run --preset demo --out runs/demo`")
def run(
    config: Config = None,
    preset: Preset = None,
    cohort: CohortPath = None,
    out: Out = None,
    address: Address = None,
    override: Override = None,
) -> None:
    """Run a study: every arm's trials, then the report."""
    settings = _config(config, preset, cohort, override)
    directory = out or Path("runs") / settings.name
    from study.progress import Progress
    from study.run import run_study

    _drive(
        directory,
        lambda: run_study(settings, directory, tracking=_tracking(), address=address, progress=Progress()),
    )


@app.command(epilog="Example: `cov-study resume runs/demo`")
def resume(directory: Directory, address: Address = None) -> None:
    """Go on where a study stopped, however it stopped."""
    from study.progress import Progress
    from study.run import resume_study

    _drive(directory, lambda: resume_study(directory, tracking=_tracking(), address=address, progress=Progress()))


@app.command(epilog="Example: `cov-study estimate --preset demo`")
def estimate(
    config: Config = None,
    preset: Preset = None,
    cohort: CohortPath = None,
    out: Out = None,
    override: Override = None,
    as_json: AsJson = False,
) -> None:
    """Time a few real steps and say device-hours, makespan and disk of the whole plan, before anything is spent."""
    from study.estimate import estimate as find
    from study.estimate import show_estimate
    from study.progress import Progress

    settings = _config(config, preset, cohort, override)
    show_estimate(find(settings, out or Path("runs") / settings.name, say=Progress().say), as_json=as_json)


@app.command(epilog="Example: `cov-study launch slurm study.yaml --nodes 4 --gpus 2 --dry-run`")
def launch(
    kind: Annotated[Literal["job", "slurm", "kuberay"], typer.Argument(help="What runs the cluster.")],
    config: Config = None,
    preset: Preset = None,
    cohort: CohortPath = None,
    out: Out = None,
    override: Override = None,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes (kuberay: that hold trials).")] = 2,
    cpus: Annotated[int, typer.Option(min=1, help="CPUs a node.")] = 8,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs a node.")] = 0,
    address: Annotated[str | None, typer.Option(help="job: the dashboard, `http://head:8265`.")] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="job: do not follow its log.")] = False,
    time: Annotated[str, typer.Option(help="slurm: limit of one allocation.")] = "24:00:00",
    partition: Annotated[str | None, typer.Option(help="slurm: partition.")] = None,
    image: Annotated[str | None, typer.Option(help="kuberay: image with cov-study inside.")] = None,
    claim: Annotated[str, typer.Option(help="kuberay: PersistentVolumeClaim that all pods mount.")] = "studies",
    mount: Annotated[Path, typer.Option(help="kuberay: where it is mounted.")] = Path("/studies"),
    memory: Annotated[str, typer.Option(help="kuberay: memory of a pod.")] = "16Gi",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be started.")] = False,
) -> None:
    """Run a study on a cluster: a Ray job, a SLURM allocation or a KubeRay RayJob."""
    from study.launch import Launch, fill, start

    settings = _config(config, preset, cohort, override)
    folder = out or (mount if kind == "kuberay" else Path("runs")) / settings.name
    tracking = _tracking()
    uri = tracking.uri if tracking.uri == tracking.masked_uri else None  # a credential is the cluster's to hold
    if kind == "kuberay" and uri and uri.startswith("sqlite:"):
        uri = f"sqlite:///{folder.parent / 'mlflow.db'}"
    text = fill(
        kind,
        Launch(
            name=settings.name,
            out=folder.absolute(),
            config=config if config is None else config.absolute(),
            preset=preset,
            cohort=cohort if cohort is None else cohort.absolute(),
            overrides=tuple(override or ()),
            nodes=nodes,
            cpus=cpus,
            gpus=gpus,
            tracking_uri=uri,
            address=address,
            no_wait=no_wait,
            time=time,
            partition=partition,
            image=image,
            claim=claim,
            mount=mount,
            memory=memory,
        ),
    )
    if dry_run:
        print(text, end="")
    else:
        sys.exit(start(kind, text))


def _presets(incomplete: str) -> list[str]:
    """For the shell's completion."""
    from study.config import PRESETS

    return [path.stem for path in sorted(PRESETS.glob(f"{incomplete}*.yaml"))]


def _keys(incomplete: str) -> list[str]:
    """For the shell's completion."""
    from study.config import StudyConfig
    from study.overrides import every_key

    return [f"{key}=" for key in every_key(StudyConfig) if key.startswith(incomplete)]


def _config(config: Path | None, preset: str | None, cohort: Path | None, override: list[str] | None) -> Any:
    from study.config import load_config

    if config is not None and preset is not None:
        raise UserError(f"{config} and --preset {preset}: give one of the two.")
    overrides = list(override or ())
    if cohort is not None:
        overrides.append(f"cohort.path={json.dumps(str(cohort.absolute()))}")
    return load_config(config, preset=preset, overrides=overrides)


def _tracking() -> Any:
    from study.tracking_config import load_settings

    return load_settings()


def _drive(directory: Path, go: Any) -> None:
    """Runs a study and says how it ended."""
    from study.run import StudyStopped

    try:
        state = go()
    except (StudyStopped, KeyboardInterrupt) as stopped:
        begun = (directory / "journal.jsonl").exists()
        reason = str(stopped) or "interrupted"
        if reason != "interrupted":
            print(
                f"cov-study: {reason}. Make room or mend it, then: cov-study resume {directory}",
                file=sys.stderr,
            )
            sys.exit(1)
        print(f"Interrupted.{f' Go on with: cov-study resume {directory}' if begun else ''}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    _say_verdict(directory)
    failed = [trial for trial in state.trials.values() if trial.state == "failed"]
    if failed:
        print(
            f"{len(failed)} trial(s) failed, for example {failed[0].key}: {failed[0].attempts[-1].reason}. "
            f"All of them: cov-study status {directory}",
            file=sys.stderr,
        )
        sys.exit(FAILED_TRIALS)


def _say_verdict(directory: Path) -> None:
    summary = json.loads((directory / "report" / "summary.json").read_text(encoding="utf-8"))
    for line in summary["verdict"]["lines"]:
        print(line)
    print(directory / "report" / "index.html")


@app.command(epilog="Example: `cov-study status runs/demo`")
def status(
    directory: Directory,
    as_json: AsJson = False,
) -> None:
    """Arms, trials by state, device time, incumbents and time left; works while the study runs."""
    from study.status import show_status

    show_status(directory, as_json=as_json)


@app.command(epilog="Example: `cov-study report runs/demo`")
def report(directory: Directory) -> None:
    """Rebuild report/ and the CSV files from the journal alone."""
    from study.run import finish

    finish(directory.absolute())
    _say_edits(directory)
    _say_verdict(directory)


def _say_edits(directory: Path) -> bool:
    """Says what was edited in `study.yaml` and does not count. True if anything was."""
    from study.journal import load_state
    from study.settled import edits_left

    lines = edits_left(directory, load_state(directory))
    for line in lines:
        print(line, file=sys.stderr)
    return bool(lines)


@app.command(epilog="Example: `cov-study compare runs/demo runs/other --out comparison`")
def compare(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR DIR...", help="Finished studies.")],
    out: Annotated[Path, typer.Option(help="Folder of the comparison.")] = Path("comparison"),
) -> None:
    """Several studies side by side in one report; refuses what is not comparable, and says why."""
    from study.report.compare import compare_studies

    print(compare_studies([directory.absolute() for directory in directories], out.absolute()))


@app.command(epilog="Example: `cov-study sync runs/demo`")
def sync(directory: Directory) -> None:
    """Replay the journal into MLflow; what is there already is not written twice."""
    from study.journal import begun_state
    from study.settled import write_study
    from study.tracking import sync as replay

    if _say_edits(directory):
        write_study(directory, begun_state(directory).info)  # what is attached is the study's own
    counts = replay(directory.absolute(), _tracking())
    print(", ".join(f"{count} {what}" for what, count in counts.items()))


@app.command(epilog="Example: `cov-study ui`")
def ui() -> None:
    """Start the MLflow server that mlflow.yml describes (loopback by default)."""
    from study.tracking import serve

    serve(_tracking())


@app.command(epilog="Example: `cov-study synthesize runs/demo --arm cov early.nii.gz synthetic.nii.gz`")
def synthesize(
    directory: Directory,
    source: Annotated[Path, typer.Argument(metavar="IN", help="A NIfTI file, a folder of them, or a BIDS folder.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A file; for a folder a folder.")],
    arm: Annotated[str | None, typer.Option(help="Its best validated model is used.")] = None,
    trial: Annotated[str | None, typer.Option(metavar="KEY", help="The model of this trial is used.")] = None,
    mask: Annotated[
        Path | None, typer.Option(help="The image's mask; for a folder a folder of masks with the same names.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Apply a trained model to new images: its affine, orientation and units are those of the input."""
    from study.synthesize import synthesize as apply

    for path in apply(directory.absolute(), source, out, arm=arm, key=trial, mask=mask, force=force):
        print(path)


@cohort_app.command(epilog="Example: `cov-study cohort simulate cohorts/virtual --subjects 80`")
def simulate(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or new folder.")],
    subjects: Annotated[int, typer.Option(help="How many.")] = 80,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    resolution: Annotated[float, typer.Option(help="Voxel size in mm.")] = 2.0,
) -> None:
    """Write a virtual cohort as NIfTI in BIDS layout."""
    from pydantic import ValidationError

    from trainables.cohort.virtual import VirtualCohortConfig, simulate_cohort

    try:
        config = VirtualCohortConfig(num_subjects=subjects, seed=seed, resolution=resolution)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise UserError(f"--{problem['loc'][0]}: {problem['msg']}".replace("num_subjects", "subjects")) from None
    print(simulate_cohort(directory, config))


@cohort_app.command(epilog="Example: `cov-study cohort check data/bids`")
def check(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A BIDS folder or a CSV manifest.")],
    config: Annotated[Path | None, typer.Option(help="A study's configuration, for its patterns.")] = None,
    override: Override = None,
    sheet: Annotated[
        Path, typer.Option(help="Where the contact sheet goes: middle slices of source, target, difference.")
    ] = Path("contact-sheet.png"),
    as_json: AsJson = False,
) -> None:
    """Every problem of every subject; exit status 1 if there is one."""
    from study.config import load_config
    from study.status import show_check

    settings = load_config(config, overrides=list(override or ()))
    if not show_check(path, settings.cohort.prepare, as_json=as_json, sheet=sheet):
        sys.exit(1)
