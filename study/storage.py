"""Whether all machines of a cluster see the study's folder, found out before the first trial rather than after it."""

import secrets
from collections.abc import Iterable
from pathlib import Path

from trainables.errors import UserError

PREFIX = ".storage-check-"


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
