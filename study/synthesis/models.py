"""Which model of a study is used."""

from pathlib import Path

from study.record.state import StudyState, Trial
from trainables.errors import UserError, did_you_mean


def choose_trial(state: StudyState, directory: Path, *, arm: str | None, key: str | None) -> Trial:
    """The trial `key`, or the best validated one of those by which an arm is judged; the earlier one of equals.

    Raises:
        UserError: there is no such arm or trial, or it has kept no model.
    """
    if key is not None:
        if key not in state.trials:
            raise UserError(f"--trial {key}: {directory.name} has no such trial{did_you_mean(key, state.trials)}")
        trial = state.trials[key]
        if arm is not None and trial.arm != arm:
            raise UserError(f"--trial {key}: belongs to arm {trial.arm}, not {arm}; leave one of the two out")
        if trial.role == "search":
            raise UserError(
                f"--trial {key}: is a trial of a search, which keeps no models; use --arm {trial.arm}, "
                f"whose incumbent was trained again"
            )
        if trial.state != "complete":
            raise UserError(f"--trial {key}: is {trial.state}, and has no model yet; see `cov-study status`")
        return trial
    names = list(state.info.arms)
    if arm is None:
        raise UserError(f"give --arm (one of {', '.join(names)}), or --trial")
    if arm not in names:
        raise UserError(f"--arm {arm}: {directory.name} has no such arm{did_you_mean(arm, names)}")
    judged = [trial for trial in state.of_arm(arm) if trial.role != "search"]
    best = state.objective.incumbent(judged)
    if best is None:
        raise UserError(
            f"--arm {arm}: has no model yet, since no trial it is judged by is complete; "
            f"go on with `cov-study resume {directory}`"
        )
    return best
