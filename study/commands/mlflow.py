"""`cov-study sync` and `ui`: a study in MLflow, and MLflow's server."""

from study.commands.options import Directory, read_tracking
from study.commands.report import say_edits


def sync(directory: Directory) -> None:
    """Replay the journal into MLflow; what is there already is not written twice."""
    from study.study import Study

    study = Study.open(directory)
    say_edits(study)
    counts = study.sync(read_tracking())
    print(", ".join(f"{count} {what}" for what, count in counts.items()))


def ui() -> None:
    """Start the MLflow server that mlflow.yml describes (loopback by default)."""
    from study.tracking.server import serve

    serve(read_tracking())
