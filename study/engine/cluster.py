"""Ray, started for one study or joined, and quiet."""

import contextlib
import math
import os
import site
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import TYPE_CHECKING, Any

from study.engine.resources import Resources, resources_of
from study.record.environment import code_in_use
from study.settings.schema import ResourcesConfig
from trainables.cpus import usable_cpus
from trainables.errors import UserError
from trainables.startup import lean_import, without_collector

if TYPE_CHECKING:
    from ray.job_config import JobConfig

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


@contextlib.contextmanager
def cluster(wanted: ResourcesConfig, address: str | None) -> Iterator[Resources]:
    """A local Ray, or the one at `address`, for as long as the study runs.

    Raises:
        UserError: it cannot be reached, or has less than the configuration asks for.
    """
    os.environ.update({key: value for key, value in QUIET.items() if key not in os.environ})
    if address is None and not os.environ.get("RAY_AUTH_MODE"):
        os.environ["RAY_AUTH_MODE"] = "disabled"  # loopback only; a token would be left in the user's home
    # Ray's Tuner asks whether a callback is its own for MLflow, and imports that to know: most of a second. Here,
    # before the mirror's thread may import it.
    integration = "ray.air.integrations.mlflow"
    with without_collector(), lean_import(integration, without=("mlflow",)):
        import_module(integration)
    import ray

    # Any: each of Ray's options has a type of its own.
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
        yield resources_of(wanted, ray.cluster_resources())
    finally:
        ray.shutdown()


def _job_config() -> "JobConfig":
    """What Ray tells its workers of this driver.

    By default that is to import from the folder the command was started in first: a file there by the name of one of
    our modules, or of a library's, would take its place. They are to import what the driver does.
    """
    from ray.job_config import JobConfig

    root = code_in_use().root
    # What is installed a worker finds by itself; in front it would go before the standard library.
    installed = root in (*site.getsitepackages(), site.getusersitepackages())

    class OwnPath(JobConfig):
        def _serialize(self) -> str:
            self._py_driver_sys_path = [] if installed else [root]
            return super()._serialize()

    return OwnPath()
