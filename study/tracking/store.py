"""The runs of a study in MLflow: the only file that knows MLflow."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import Timeout

from study.tracking.images import montage
from study.tracking.run import COUNT_TAG, NOTE_TAG, Run
from study.tracking.settings import TrackingSettings, scrub
from study.tracking.views import VIEW_TAG, resolve, trials_view
from trainables.errors import UserError

if TYPE_CHECKING:
    import mlflow.entities

NUM_POINTS, NUM_PARAMS, MAX_TAG_LENGTH = 1000, 100, 8000
"""What MLflow takes: in one call, and of a tag."""
PERMANENT = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE", "BAD_REQUEST")
"""MLflow's words for what no repetition mends (a run that a user deleted, a parameter that would change)."""


class Store:
    """The runs of one study in MLflow, found by key before they are made."""

    def __init__(self, settings: TrackingSettings, directory: Path, layout: str) -> None:
        from mlflow.tracking import MlflowClient  # takes seconds: not before it is needed

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if not settings.uri.startswith("http"):
            _try_database(settings.uri)
        self._settings, self._directory, self._layout = settings, directory, layout
        self._client = MlflowClient(tracking_uri=settings.uri)
        self._experiment = ""
        self._study_key = ""
        self._ids: dict[str, str] = {}
        self._statuses: dict[str, str] = {}
        self._num_points: dict[str, int] = {}
        self._deleted: set[str] = set()
        self._arms: set[str] = set()
        """Keys of the runs that stand for arms."""
        self._unsure = False
        self.counts = {"created": 0, "points": 0, "files": 0}
        self.problems: dict[str, str] = {}

    @property
    def num_runs(self) -> int:
        """Runs of the study in MLflow."""
        return len(self._ids) - len(self._deleted)

    def status(self, run: Run) -> str | None:
        """Status that MLflow shows; None if it has no such run, or a deleted one."""
        return self._statuses.get(run.key)

    def connect(self, study_key: str, objective: str) -> int:
        """Finds experiment and runs; returns how many events of the journal are mirrored already."""
        self._study_key = study_key
        self._experiment = self._find_experiment()
        view = json.dumps(trials_view(study_key, objective))
        self._client.set_experiment_tag(self._experiment, f"{VIEW_TAG}{_mark(study_key)}", view)
        mirrored = 0
        for found in self._search(f"tags.study_key = '{study_key}'"):
            if self._know(found) == study_key:
                mirrored = int(found.data.tags.get("mirrored", 0))
        return mirrored

    def ensure(self, run: Run, runs: Mapping[str, Run]) -> None:
        """Makes the run, and its parents before it, unless MLflow has it."""
        if run.key in self._ids:
            return
        if run.parent:
            self.ensure(runs[run.parent], runs)
        if self._unsure:  # an earlier call may have reached the server although its answer was lost
            for found in self._search(f"tags.key = '{run.key}'"):
                self._know(found)
            self._unsure = False
            if run.key in self._ids:
                return
        # A note's links need run ids, and points are counted once they are written.
        later = {key: value for key, value in run.tags.items() if key in (NOTE_TAG, COUNT_TAG)}
        tags = {key: value for key, value in run.tags.items() if key not in later}
        tags |= {"key": run.key, "study_key": self._study_key, "mlflow.source.name": "cov-study"}
        if run.parent:
            tags["mlflow.parentRunId"] = self._ids[run.parent]
        try:
            made = self._client.create_run(self._experiment, run.started, tags, run.name)
        except Exception:
            self._unsure = True
            raise
        self._know(made)
        self.counts["created"] += 1
        run.tags = later

    def write(self, run: Run) -> None:
        """Writes what is new of a run that MLflow has: points, parameters, tags, status."""
        from mlflow.entities import Metric, Param, RunTag

        if run.key in self._deleted:
            run.forget()
            return
        run_id = self._ids[run.key]
        # The points of a run come in the same order in every replay: the first ones are there.
        del run.points[: max(0, self._num_points.get(run.key, 0) - run.num_points + len(run.points))]
        while run.points or run.params or run.tags:
            points = run.points[:NUM_POINTS]
            params = dict(islice(run.params.items(), NUM_PARAMS))
            rest = len(points) < len(run.points) or len(params) < len(run.params)
            tags = {} if rest else run.tags  # last, since one of them counts the points
            self._send(
                run_id,
                metrics=[Metric(*point) for point in points],
                params=[Param(*item) for item in params.items()],
                tags=[RunTag(key, self._resolve(value, run_id)[:MAX_TAG_LENGTH]) for key, value in tags.items()],
            )
            self.counts["points"] += len(points)
            del run.points[: len(points)]
            run.params = {key: value for key, value in run.params.items() if key not in params}
            run.tags = run.tags if rest else {}
        if self._statuses[run.key] != run.status:
            if run.ended is None:
                self._client.update_run(run_id, status=run.status)
            else:
                self._client.set_terminated(run_id, run.status, run.ended)
            self._statuses[run.key] = run.status

    def attach(self, run: Run) -> None:
        """Uploads the files of a run that exist by now; the others stay for later."""
        for path, folder in list(run.files.items()):
            file = self._directory / path
            if not file.exists():
                continue
            try:
                if folder == "images":
                    self._client.log_image(self._ids[run.key], montage(file), artifact_file=f"{folder}/test.png")
                else:
                    self._client.log_artifact(self._ids[run.key], str(file), folder or None)
                self.counts["files"] += 1
            except Exception as error:
                self._client.get_experiment(self._experiment)  # raises if it is the server that is away
                self.problems["files"] = f"{path} could not be attached ({_short(error)})."
            del run.files[path]

    def _find_experiment(self) -> str:
        name = self._settings.experiment
        found = self._client.get_experiment_by_name(name)
        if found is None:
            # A server has its own place for artifacts; a database alone does not.
            remote = self._settings.uri.startswith("http")
            place = None if remote else self._settings.artifact_root
            return self._client.create_experiment(
                name, place, tags={"mlflow.experimentKind": "custom_model_development"}
            )
        if found.lifecycle_stage == "deleted":
            raise UserError(f"experiment {name!r} is deleted in MLflow; restore it, or name another in mlflow.yml.")
        return found.experiment_id

    def _search(self, condition: str) -> Iterator["mlflow.entities.Run"]:
        from mlflow.entities import ViewType

        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], condition, ViewType.ALL, max_results=500, page_token=token
            )
            yield from page
            if not (token := page.token):
                return

    def _know(self, found: "mlflow.entities.Run") -> str:
        key = found.data.tags["key"]
        self._ids[key] = found.info.run_id
        if found.data.tags.get("level") == "arm":
            self._arms.add(key)
        if found.info.lifecycle_stage == "deleted":
            self._deleted.add(key)
        else:
            self._statuses[key] = found.info.status
            if found.data.tags.get("layout") == self._layout:
                self._num_points[key] = int(found.data.tags.get(COUNT_TAG, 0))
        return key

    def _resolve(self, text: str, run_id: str) -> str:
        arms = [self._ids[key] for key in sorted(self._arms & self._statuses.keys())]
        return resolve(text, experiment=self._experiment, run_id=run_id, arms=arms, view=_mark(self._study_key))

    def _send(self, run_id: str, **batch: Any) -> None:
        """One call; what MLflow refuses for good is left out and told, the rest is written."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.log_batch(run_id, **batch)
        except MlflowException as error:
            if error.error_code not in PERMANENT:
                raise
            kinds = [kind for kind, values in batch.items() if values]
            if len(kinds) > 1:
                for kind in kinds:
                    self._send(run_id, **{kind: batch[kind]})
            else:
                self.problems["batch"] = f"run {run_id} does not take a value ({_short(error)})."


def _try_database(uri: str) -> None:
    """Raises at once if the database does not answer: MLflow would try for 100 seconds."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def _mark(study_key: str) -> str:
    """The part of a study's key that is fit for an address."""
    return study_key.rpartition("-")[2]


def prepare_environment() -> None:
    """MLflow's own switches, where the user has not set them: no telemetry, no long waits, no chatter."""
    for name, value in (
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "30"),
        ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),
    ):
        os.environ.setdefault(name, value)


def reason(settings: TrackingSettings, error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, Timeout):
        return "MLflow: a `cov-study sync` is at work on this study."
    if isinstance(error, ModuleNotFoundError):
        return f"MLflow at {settings.masked_uri} needs the package {error.name}; install `cov-study[postgresql]`."
    if any(code in str(error) for code in ("error code 401", "error code 403", "UNAUTHENTICATED", "PERMISSION_DENIED")):
        return f"MLflow at {settings.masked_uri} asks who you are: set MLFLOW_TRACKING_USERNAME and _PASSWORD."
    return f"MLflow at {settings.masked_uri} cannot be written to ({_short(error)})."


def _short(error: Exception) -> str:
    """The gist of an error in one line, without credentials."""
    text = " ".join(str(error).split())
    if "Connection refused" in text:
        return "connection refused"
    return scrub(f"{type(error).__name__}: {text}")[:200]
