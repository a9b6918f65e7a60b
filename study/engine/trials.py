"""Runs a plan on Ray: the one Tuner, and the baselines beside its last trials."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from study.engine.resources import Resources
from study.engine.stopping import Stop
from study.engine.watcher import Watcher
from study.planning.plan import Plan
from study.record.events import Baseline, Scores
from study.record.record import Record
from study.settings.schema import StudyConfig
from trainables.cohort import PreparedCohort
from trainables.proof import Code
from trainables.startup import ready_process
from trainables.task import WorkerSettings

if TYPE_CHECKING:
    from ray.tune import Trainable


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Trains what a plan asks for, on the Ray that this process has started or joined."""

    config: StudyConfig
    resources: Resources
    is_shared: bool
    """Whether workers run on other nodes, too."""
    code: Code
    """Of this process; workers train with the same."""
    components: Mapping[str, str | None]
    """Where each user-defined component comes from."""

    def run(self, record: Record, plan: Plan, cohort: PreparedCohort, *, stop: Stop, watcher: Watcher) -> None:
        """Runs what the plan still has to do, and scores the baselines.

        Raises:
            StudyStopped: interrupted, or the storage failed; the study can be resumed.
        """
        # By default Ray starts one process after another for a user-defined searcher.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(self.resources.workers)
        settings = self._settings(record.directory)
        trainable, baselines = self._trainable(cohort, settings), _Baselines(cohort, settings)
        with self._scratch(record.directory) as scratch, baselines:
            # Once is enough, unless a process dies after Ray was told that no trial will come any more.
            while not plan.exhausted(record.state) or _left_open(record):
                self._fit(record, plan, trainable, baselines, scratch, stop=stop, watcher=watcher)
            if not record.state.baselines:
                for name, scores in baselines.result().items():
                    record.append(Baseline(name=name, scores=scores))

    def _fit(
        self,
        record: Record,
        plan: Plan,
        trainable: "type[Trainable]",
        baselines: "_Baselines",
        scratch: Path,
        *,
        stop: Stop,
        watcher: Watcher,
    ) -> None:
        from ray import tune

        from study.engine.recorder import Recorder
        from study.engine.searcher import InOrder, PlanSearcher

        wanted = self.config.resources
        # A cluster may grow, and has trials at hand for that; elsewhere there are never more than workers.
        max_open = wanted.workers if self.is_shared else self.resources.workers
        searcher = PlanSearcher(plan, record, num_workers=self.resources.workers, max_open=max_open)

        def tick() -> None:
            if searcher.failure is not None:
                raise searcher.failure
            # The baselines take seconds of one CPU: here, where torch is imported, beside the last trials.
            if searcher.exhausted and not record.state.baselines:
                baselines.start()
            stop.listen()
            watcher.tick()

        recorder = Recorder(
            record,
            plan,
            share=self.resources.share,
            max_retries=wanted.max_retries,
            digest=self.code.digests["trainables"],
            take_back=searcher.take_back,
            interrupted=stop.asked,
            tick=tick,
        )
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=InOrder() if max_open else None,
                num_samples=-1,
                reuse_actors=wanted.reuse_actors,
            ),
            run_config=tune.RunConfig(
                name="trials", storage_path=str(scratch), callbacks=[recorder], stop=recorder, verbose=0
            ),
        ).fit()

    def _trainable(self, cohort: PreparedCohort, settings: WorkerSettings) -> "type[Trainable]":
        """What Ray starts; the cohort lies in its object store, once a node."""
        import ray
        from ray import tune

        from trainables.synthesis import Synthesis

        return tune.with_resources(
            tune.with_parameters(Synthesis, cohort=ray.put(cohort), settings=settings),
            {"cpu": self.resources.cpus, "gpu": self.resources.gpus},
        )

    def _settings(self, directory: Path) -> WorkerSettings:
        config = self.config
        return WorkerSettings(
            training=config.training.model_dump(mode="json"),
            terms=config.terms,
            objective=config.objective,
            metrics=config.metrics,
            module_path=tuple(str(folder) for folder in config.module_path),
            directory=directory,
            share=self.resources.share,
            num_threads=max(1, int(self.resources.cpus)),
            # Workers import the ground floor alone: the floors above may be edited while a study runs.
            code=replace(self.code, digests={"trainables": self.code.digests["trainables"]}),
            components=self.components,
        )

    @contextmanager
    def _scratch(self, directory: Path) -> Iterator[Path]:
        """Where Ray keeps its own books, which nobody reads: only nodes of a cluster must share the folder."""
        scratch = directory / ".ray" if self.is_shared else Path(tempfile.mkdtemp(prefix="cov-study-"))
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


class _Baselines:
    """Scores of what needs no network, worked out on a thread of their own."""

    def __init__(self, cohort: PreparedCohort, settings: WorkerSettings) -> None:
        self._cohort, self._settings = cohort, settings
        self._pool = ThreadPoolExecutor(1)
        self._future: Future[dict[str, Scores]] | None = None

    def start(self) -> None:
        """Begins, unless that is done."""
        if self._future is None:
            self._future = self._pool.submit(self._score)

    def result(self) -> dict[str, Scores]:
        """The scores by baseline; waits for them."""
        self.start()
        assert self._future is not None
        return self._future.result()

    def _score(self) -> dict[str, Scores]:
        from trainables.baselines import baseline_scores

        ready_process(self._settings.num_threads)
        return dict(baseline_scores(self._cohort, metrics=self._settings.metrics))

    def __enter__(self) -> "_Baselines":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


def _left_open(record: Record) -> bool:
    return any(trial.state.is_open for trial in record.state.trials.values())
