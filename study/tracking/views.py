"""Addresses inside MLflow's stock UI: charts over chosen runs, a table grouped by arm, a run's files.

Notes hold placeholders, since run ids are known only once the runs exist; `resolve` fills them in.
"""

import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

FILES = "{files}"
"""Address of the run's own artifacts."""
TRIALS_TABLE = "{trials}"
"""Address of the study's trials, grouped by arm."""
VIEW_TAG = "mlflow.sharedViewState."
"""Tag of an experiment that holds a view which the UI's own "share" would have stored."""


def chart(keys: Sequence[str], *, arms: bool) -> str:
    """Placeholder of a line chart of metric keys, x axis the step: over all arms, or of the run itself."""
    return f"{{chart {'arms' if arms else 'self'} {' '.join(keys)}}}"


def resolve(text: str, *, experiment: str, run_id: str, arms: Sequence[str], view: str) -> str:
    """`text` with every placeholder replaced by an address.

    Args:
        text: Markdown of a note.
        experiment: id of the experiment.
        run_id: id of the run that the note belongs to.
        arms: ids of the arms' runs.
        view: key of the view of the trials.
    """

    def address(match: re.Match[str]) -> str:
        which, *keys = match[1].split(" ")
        return _metric_page(experiment, list(arms) if which == "arms" else [run_id], keys)

    text = re.sub(r"\{chart ([^}]+)\}", address, text)
    text = text.replace(FILES, f"#/experiments/{experiment}/runs/{run_id}/artifacts")
    table = f"#/experiments/{experiment}/runs?viewStateShareKey={view}&workflowType=machine_learning"
    return text.replace(TRIALS_TABLE, table)


def trials_view(study_key: str, objective: str) -> dict[str, Any]:
    """State of the UI's run table: the trials of a study, grouped by arm, best first."""
    best = f"best/{objective.replace('/', '_')}"
    metrics = (best, objective.replace("val/", "test/"), "cost/device_seconds")
    return {
        "searchFilter": f"tags.study_key = '{study_key}' and tags.level = 'trial'",
        "orderByKey": f"metrics.`{best}`",
        "orderByAsc": False,
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "param", "groupByData": "arm"}]},
        "selectedColumns": [*(f"metrics.`{key}`" for key in metrics), "params.`role`", "params.`state`"],
        "runsHiddenMode": "SHOW_ALL",
    }


def _metric_page(experiment: str, run_ids: list[str], keys: list[str]) -> str:
    parameters = {
        "runs": json.dumps(run_ids),
        "metric": json.dumps(keys[0]),
        "experiments": json.dumps([experiment]),
        "plot_metric_keys": json.dumps(keys),
        "plot_layout": json.dumps({"autosize": True}),
        "x_axis": "step",
    }
    return f"#/metric?{urlencode(parameters, quote_via=quote)}"
