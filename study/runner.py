"""Runs a plan on Ray: resources, the one Tuner, and the journal that tells of it."""

import contextlib
import math
import os
import shutil
import site
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from study.config import ResourcesConfig, StudyConfig
from study.environment import code_in_use, other_code
from study.journal import Journal
from study.parts import origins
from study.plan import Plan
from study.state import OPEN_STATES, StudyState
from trainables.cpus import usable_cpus
from trainables.errors import UserError
from trainables.lean import lean_import, without_collector

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours closes the journal first
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # Ray's snapshot is not used: the journal is replayed
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a trial without a GPU must not see any
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_memory_monitor_refresh_ms": "250",
    # Trials run in processes of another kind; these would start in vain.
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
}


NODE_SECONDS = 60.0
"""How long a node of a cluster may take to answer."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What the cluster gives to trials."""

    cpus: float
    """CPUs a trial."""
    gpus: float
    """GPUs a trial; a fraction shares one."""
    workers: int
    """Trials at a time."""
    offered: dict[str, float]
    """What the whole cluster has."""

    @property
    def share(self) -> float:
        """Devices that a trial holds: of GPUs where it has one, else of CPUs."""
        return self.gpus or self.cpus


@contextlib.contextmanager
def cluster(config: StudyConfig, address: str | None) -> Iterator[Resources]:
    """A local Ray, or the one at `address`, for as long as the study runs.

    Raises:
        UserError: it cannot be reached, or has less than the configuration asks for.
    """
    os.environ.update({key: value for key, value in QUIET.items() if key not in os.environ})
    wanted = config.resources
    if address is None and not os.environ.get("RAY_AUTH_MODE"):
        os.environ["RAY_AUTH_MODE"] = "disabled"  # loopback only; a token would be left in the user's home
    # Ray's Tuner asks whether a callback is its own for MLflow, and imports that to know: most of a second. Here,
    # before the mirror's thread may import it.
    integration = "ray.air.integrations.mlflow"
    with without_collector(), lean_import(integration, without=("mlflow",)):
        import_module(integration)
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "include_dashboard": False}
    if address is None:
        workers = wanted.workers or max(1, int(usable_cpus() // wanted.cpus_per_trial))
        options |= {"address": "local", "num_cpus": math.ceil(workers * wanted.cpus_per_trial)}
    else:
        del options["include_dashboard"]
        options["address"] = address
    try:
        # Two seconds of waiting for Ray's servers: enough to import what follows.
        with without_collector(), ThreadPoolExecutor(1) as aside:
            imported = aside.submit(import_module, "ray.tune")
            ray.init(**options, job_config=_job_config())
        imported.result()
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"--address {address}: cannot reach it" if address else "Ray: cannot start"
        hint = "; start one with `ray start --head`, or leave --address out" if address else ""
        raise UserError(f"{where} ({str(error).splitlines()[0]}){hint}.") from None
    try:
        yield resources_of(config, ray.cluster_resources())
    finally:
        ray.shutdown()


def _job_config() -> Any:
    """What Ray tells its workers of this driver.

    By default that is to import from the folder the command was started in first: a file there by the name of one of
    our modules, or of a library's, would take its place. They are to import what the driver does.
    """
    from ray.job_config import JobConfig

    root = code_in_use()["root"]
    # What is installed a worker finds by itself; in front it would go before the standard library.
    installed = root in (*site.getsitepackages(), site.getusersitepackages())

    class OwnPath(JobConfig):  # type: ignore[misc]  # Ray has no types here
        def _serialize(self) -> Any:
            self._py_driver_sys_path = [] if installed else [root]
            return super()._serialize()

    return OwnPath()


def check_cpus(wanted: ResourcesConfig, available: float | None = None) -> None:
    """Raises UserError if more CPUs are asked for than there are (by default those that this process may use)."""
    workers, cpus_per_trial = wanted.workers, wanted.cpus_per_trial
    available = available if available is not None else usable_cpus()
    needed = (workers or 1) * cpus_per_trial
    if needed > available:
        possible = int(available // cpus_per_trial)
        lower = f"resources.workers={possible}" if possible else f"resources.cpus_per_trial={available:g}"
        raise UserError(
            f"resources.{'workers' if workers else 'cpus_per_trial'}: {workers or 1} trial(s) x "
            f"{cpus_per_trial:g} CPU ask for {needed:g} CPUs, but there are {available:g}; use -o {lower}."
        )


def resources_of(config: StudyConfig, offered: dict[str, float]) -> Resources:
    """What a trial gets of what a cluster offers (`CPU`, `GPU`). Raises UserError if it is less than was asked for."""
    wanted = config.resources
    cpus, num_gpus = offered.get("CPU", 0.0), offered.get("GPU", 0.0)
    gpus = float(num_gpus > 0) if wanted.gpus_per_trial == "auto" else float(wanted.gpus_per_trial)
    if gpus > num_gpus:
        raise UserError(
            f"resources.gpus_per_trial: asks for {gpus:g}, but the cluster has {num_gpus:g} GPU(s); "
            f"use -o resources.gpus_per_trial=0 to train on CPUs."
        )
    check_cpus(wanted, cpus)
    by_gpu = math.floor(num_gpus / gpus + 1e-9) if gpus else math.inf
    possible = int(min(cpus // wanted.cpus_per_trial, by_gpu))
    if wanted.workers and wanted.workers > possible:
        raise UserError(
            f"resources.workers: asks for {wanted.workers}, but the cluster holds {possible} at a time; "
            f"use -o resources.workers={possible}."
        )
    return Resources(cpus=wanted.cpus_per_trial, gpus=gpus, workers=wanted.workers or possible, offered=offered)


def run_trials(
    config: StudyConfig,
    plan: Plan,
    journal: Journal,
    state: StudyState,
    cohort: Any,
    directory: Path,
    resources: Resources,
    *,
    shared: bool,
    interrupted: threading.Event,
    tick: Callable[[], None],
) -> None:
    """Runs what the plan still has to do and writes the baselines beside. `shared`: workers are on other nodes too.

    Raises:
        StudyStopped: interrupted, or the storage failed; the study can be resumed.
    """
    import ray
    from ray import tune

    from study.recorder import Recorder
    from study.searcher import InOrder, PlanSearcher
    from trainables.synthesis import Synthesis

    code = code_in_use()
    # Workers import the ground floor alone: the floors above may be edited while a study runs.
    proof = {"digests": {"trainables": code["digests"]["trainables"]}, "root": code["root"], "parts": origins(config)}
    settings = {
        "training": config.training.model_dump(mode="json"),
        "terms": list(config.terms),
        "objective": config.objective,
        "metrics": list(config.metrics),
        "module_path": [str(folder) for folder in config.module_path],
        "directory": str(directory),
        "share": resources.share,
        "num_threads": max(1, int(resources.cpus)),
        "code": proof,
    }
    # By default Ray starts one process after another for a searcher of one's own.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(resources.workers)
    cohort_ref = ray.put(cohort)
    trainable = tune.with_resources(
        tune.with_parameters(Synthesis, cohort=cohort_ref, settings=settings),
        {"cpu": resources.cpus, "gpu": resources.gpus},
    )
    # A cluster may grow, and has trials at hand for that; elsewhere there are never more than workers.
    max_open = config.resources.workers if shared else resources.workers
    aside = ThreadPoolExecutor(1)
    baselines: list[Future[dict[str, Any]]] = []
    # Ray's own bookkeeping is thrown away; only nodes of a cluster must share the folder.
    scratch = directory / ".ray" if shared else Path(tempfile.mkdtemp(prefix="cov-study-"))

    def fit() -> None:
        searcher = PlanSearcher(plan, journal, state, num_workers=resources.workers, max_open=max_open)

        def tick_and_fill() -> None:
            if searcher.failure is not None:
                raise searcher.failure
            # The baselines, seconds of one CPU, beside the last trials: here, where torch is imported already.
            if searcher.exhausted and not baselines and not state.baselines:
                baselines.append(aside.submit(_baselines, cohort, settings))
            tick()

        recorder = Recorder(
            journal,
            state,
            plan,
            directory,
            share=resources.share,
            max_retries=config.resources.max_retries,
            digest=code["digests"]["trainables"],
            take_back=searcher.take_back,
            interrupted=interrupted,
            tick=tick_and_fill,
        )
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=InOrder() if max_open else None,
                num_samples=-1,
                reuse_actors=config.resources.reuse_actors,
            ),
            run_config=tune.RunConfig(
                name="trials", storage_path=str(scratch), callbacks=[recorder], stop=recorder, verbose=0
            ),
        ).fit()

    try:
        # Once is enough, unless a process dies after Ray was told that no trial will come any more.
        while not plan.exhausted(state) or _left_open(state):
            fit()
        if not state.baselines:
            found = baselines[0].result() if baselines else _baselines(cohort, settings)
            for name, scores in found.items():
                journal.append("baseline", name=name, scores=scores)
    finally:
        aside.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)


def check_storage(directory: Path) -> None:
    """Lets every node of the cluster write and read in the study's folder.

    Raises:
        UserError: one of them cannot, or does not answer.
    """
    from study.storage import Meeting, meet

    with Meeting(directory) as meeting:
        meeting.check(_ask_nodes(lambda node: meet(str(directory), meeting.token, node)))


def check_nodes(code: Mapping[str, Any], module_path: Iterable[Path], parts: Mapping[str, str | None]) -> None:
    """Lets every node of the cluster compare its code, and the parts that are not built in, with the driver's.

    Raises:
        UserError: one of them has other code, or does not find a part.
    """
    folders = [str(folder) for folder in module_path]
    for _, name, problem in _ask_nodes(lambda node: other_code(code, folders, parts)):
        if problem is not None:
            raise UserError(
                f"node {name}: {problem.rstrip('.')}. Install the same packages on every node, and keep files of your "
                f"own in a folder they share that `module_path` names."
            )


def _ask_nodes(question: Callable[[str], str | None]) -> Iterator[tuple[str, str, str | None]]:
    """Asks every node of the cluster, by its id. Yields id, name, and what is wrong there (None: nothing)."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(question)
    nodes = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    asked = {
        node: task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(node)
        for node in nodes
    }
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=NODE_SECONDS)
    yield from ((node, nodes[node], _answer(ref)) for node, ref in asked.items())


def _answer(ref: Any) -> str | None:
    import ray

    try:
        return ray.get(ref, timeout=0)
    except ray.exceptions.GetTimeoutError:
        return f"no answer within {NODE_SECONDS:g} s"
    except ray.exceptions.RayError as error:
        return f"it cannot run cov-study: {str(error).strip().splitlines()[-1][:200]}"


def _left_open(state: StudyState) -> bool:
    return any(trial.state in OPEN_STATES for trial in state.trials.values())


def _baselines(cohort: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    from trainables.baselines import baseline_scores
    from trainables.hardware import ready_process

    ready_process(settings["num_threads"])
    return baseline_scores(cohort, metrics=settings["metrics"])
