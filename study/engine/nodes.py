"""Whether every node of a cluster can take part: it sees the study's folder, and finds the user-defined components.

Asked before the first trial rather than after it.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from study.record.environment import other_code
from trainables.errors import UserError
from trainables.proof import Code

if TYPE_CHECKING:
    from ray import ObjectRef

PREFIX = ".storage-check-"
NODE_SECONDS = 60.0
"""How long a node of a cluster may take to answer."""


def meet(folder: str, token: str, node: str) -> str | None:
    """On a node: reads what the driver left and answers beside it. Returns what is wrong, None if nothing is."""
    try:
        if Path(folder, f"{PREFIX}driver").read_text() != token:
            return "it holds other files there"
        Path(folder, f"{PREFIX}{node}").write_text(token)
    except FileNotFoundError:
        return "it does not see what the driver writes there"
    except OSError as error:
        return error.strerror or str(error)
    return None


class Meeting:
    """The driver's side: leaves a token in the folder, and reads what each node answered.

    Args:
        folder: the study's, absolute.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.token = secrets.token_hex(8)

    def __enter__(self) -> "Meeting":
        (self._folder / f"{PREFIX}driver").write_text(self.token)
        return self

    def __exit__(self, *_: object) -> None:
        for path in self._folder.glob(f"{PREFIX}*"):
            path.unlink(missing_ok=True)

    def check(self, answers: Iterable[tuple[str, str, str | None]]) -> None:
        """Raises UserError for the first node (id, name, what `meet` returned there) that does not share the folder."""
        for node, name, problem in answers:
            try:
                if problem is None and (self._folder / f"{PREFIX}{node}").read_text() != self.token:
                    problem = "what it writes there is not what the driver reads"
            except OSError:
                problem = "the driver does not see what it writes there"
            if problem is not None:
                raise UserError(
                    f"node {name}: does not share the study's folder {self._folder} ({problem}). "
                    f"Choose one that all nodes of the cluster mount, with --out."
                )


def check_storage(directory: Path) -> None:
    """Lets every node of the cluster write and read in the study's folder.

    Raises:
        UserError: one of them cannot, or does not answer.
    """
    with Meeting(directory) as meeting:
        meeting.check(_ask_nodes(lambda node: meet(str(directory), meeting.token, node)))


def check_nodes(code: Code, module_path: Iterable[Path], components: Mapping[str, str | None]) -> None:
    """Lets every node of the cluster compare its code, and the user-defined components, with the driver's.

    Raises:
        UserError: one of them has other code, or does not find a component.
    """
    folders = [str(folder) for folder in module_path]
    for _, name, problem in _ask_nodes(lambda node: other_code(code, folders, components)):
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


def _answer(ref: "ObjectRef[str | None]") -> str | None:
    import ray

    try:
        return ray.get(ref, timeout=0)
    except ray.exceptions.GetTimeoutError:
        return f"no answer within {NODE_SECONDS:g} s"
    except ray.exceptions.RayError as error:
        return f"it cannot run cov-study: {str(error).strip().splitlines()[-1][:200]}"
