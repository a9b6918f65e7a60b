"""The base of everything that is read from a user's file or written to one."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """A pydantic model that never changes, and that an unknown key is an error to."""

    model_config = ConfigDict(extra="forbid", frozen=True)
