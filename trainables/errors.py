"""The one error that a user can cause and mend."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """The user's input or data is wrong.

    Its message is one line: it names the file or key, says what is wrong and what to do. The command line prints it
    without a traceback and exits with status 1.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or all of them."""
    names = list(known)
    if not names:
        return ""
    near = nearest(name, names)
    return f"; did you mean {near!r}?" if near else f"; there are {', '.join(names)}."


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that an unknown one was most likely meant to be; None if none is near."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


@contextmanager
def blame(what: str) -> Iterator[None]:
    """Turns whatever somebody else's code raises into one line about `what`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines() or [""]
        raise UserError(f"{what} fails with {type(error).__name__}: {reason[0]}") from error
