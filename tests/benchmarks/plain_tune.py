"""The same search as the manuals of Ray Tune, Optuna and MLflow show it: what the engine is compared with.

A function that trains and reports, `OptunaSearch`, `MLflowLoggerCallback`, the data loaded by the trial, all else at
its default. Network, losses, optimiser, steps and scores are those of `trainables`, so that a trial computes the same;
so is the reading of the images. Where the settings name a `cache` of arrays prepared beforehand, trials read these and
import of MONAI what they need, as ours do.

    python -m tests.benchmarks.plain_tune SETTINGS.json
"""

import importlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.search.optuna import OptunaSearch


def train(config: dict[str, Any]) -> None:
    """One trial."""
    import numpy as np

    settings = config["settings"]
    if not settings["cache"]:
        importlib.import_module("monai.networks.nets")  # as a user's script does, with all that MONAI tries out

    from trainables.cohort import CohortConfig, find_cohort, prepare
    from trainables.config import TrainingConfig
    from trainables.meter import Meter
    from trainables.training import Training
    from trainables.weighting import make_weighting

    preparation = CohortConfig(**settings["prepare"])
    found = find_cohort(Path(settings["cohort"]), preparation)
    with tempfile.TemporaryDirectory() as fresh:  # the arrays are mapped, and stay so when the folder is gone
        cohort = prepare(found, preparation, Path(settings["cache"] or fresh))
    raw = np.exp([0.0, *(config[term] for term in settings["terms"][1:])])
    training = Training(
        TrainingConfig(**settings["training"]),
        cohort,
        terms=settings["terms"],
        weighting=make_weighting({"name": "fixed", "weights": list(raw / raw.sum())}, len(raw)),
        seed=0,
        meter=Meter(taken=time.monotonic()),
    )
    while not training.finished:
        measurement = training.run_epoch()
        results = measurement.metrics | {f"weight/{term}": weight for term, weight in measurement.weights.items()}
        if training.finished:
            scores, _ = training.test()
            results["test/psnr"] = float(np.mean([of_subject["mask"]["psnr"] for of_subject in scores.values()]))
        tune.report(results)


def main(settings: dict[str, Any]) -> None:
    """The search."""
    ray.init("local")  # by default Ray would join whatever cluster it finds on a shared machine
    space = {term: tune.uniform(-4.6, 4.6) for term in settings["terms"][1:]}
    tuner = tune.Tuner(
        train,
        param_space=space | {"settings": settings},
        tune_config=tune.TuneConfig(
            metric="val/psnr", mode="max", search_alg=OptunaSearch(), num_samples=settings["num_trials"]
        ),
        run_config=tune.RunConfig(
            storage_path=settings["storage"],
            callbacks=[MLflowLoggerCallback(tracking_uri=settings["tracking_uri"], experiment_name="plain")],
        ),
    )
    results = tuner.fit()
    if results.num_errors or len(results) != settings["num_trials"]:
        sys.exit(f"{results.num_errors} of {len(results)} trials failed: {results.errors[:1]}")
    print(results.get_best_result().metrics["val/psnr"])


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
