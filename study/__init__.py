"""Are automatically weighted losses worth it? A study of hand-tuned and automatic loss weights.

from study import Study, load_config

study = Study.create("runs/mine", load_config(preset="smoke"))
study.run()
study.trials()
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from study.settings.reading import load_config
    from study.settings.schema import StudyConfig
    from study.study import Study
    from trainables.errors import UserError

__all__ = ["Study", "StudyConfig", "UserError", "load_config"]

_HOMES = {
    "Study": "study.study",
    "StudyConfig": "study.settings.schema",
    "UserError": "trainables.errors",
    "load_config": "study.settings.reading",
}


def __getattr__(name: str) -> object:
    """Imports what is asked for: `import study` alone takes no time."""
    if name not in _HOMES:
        raise AttributeError(f"module 'study' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
