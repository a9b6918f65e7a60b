"""`mlflow.yml`: where runs are mirrored to and which server shows them. No MLflow in here, so it loads at once."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, Field, ValidationError

from study.settings.yaml_files import read_yaml
from trainables.errors import UserError, nearest
from trainables.frozen import FrozenModel

FILE_NAME = "mlflow.yml"

Attachment = Literal["config", "report", "models", "images"]


class ServerSettings(FrozenModel):
    """Block `server:`, the server that `cov-study ui` starts."""

    store: str | None = None
    """Database that holds the runs (SQLAlchemy URI); None is the database of `tracking.uri`, or the SQLite default."""
    artifacts: str = "mlartifacts"
    """Folder (or `s3://...`) for reports, models and images."""
    host: str = "127.0.0.1"
    port: int = Field(default=5000, ge=1, le=65535)
    workers: int = Field(default=1, ge=1)
    """Processes that answer; each takes about 300 MB."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which browsers may reach it, needed with a `host` other than loopback."""
    auth: bool = False
    """Ask for user and password (MLflow's basic-auth); the administrator's come from the environment."""


class TrackingSettings(FrozenModel):
    """Block `tracking:`, what a study mirrors and where to; the server's block hangs on it."""

    uri: str = ""
    """`sqlite:////path/mlflow.db`, `postgresql://...` or `http://server:5000`."""
    experiment: str = Field(default="cov-study", min_length=1, max_length=500)
    tags: dict[Annotated[str, Field(pattern=r"^[\w\-. /]+$")], str] = Field(default_factory=dict)
    """Put on every run."""
    artifacts: tuple[Attachment, ...] = ("config", "report", "models", "images")
    """Files that are attached to runs."""
    mirror: Literal["none", "arms", "trials", "epochs"] = "epochs"
    """How deep: nothing; study and arms; also trials with their last values; also every epoch of every trial."""
    pseudonyms: bool = True
    """Attach files that show subjects only if the study itself uses pseudonyms."""
    server: ServerSettings = ServerSettings()

    @property
    def masked_uri(self) -> str:
        """The URI without credentials, fit to be written anywhere."""
        return scrub(self.uri)

    @property
    def artifact_root(self) -> str:
        """`server.artifacts` as a URI, its folder absolute."""
        place = self.server.artifacts
        return place if "://" in place else Path(place).expanduser().absolute().as_uri()

    @property
    def store(self) -> str:
        """Database URI of the server that `cov-study ui` starts."""
        if self.server.store:
            return self.server.store
        return _default_uri() if self.uri.startswith(("http://", "https://")) else self.uri


def load_settings(path: Path | None = None, *, environ: Mapping[str, str] = os.environ) -> TrackingSettings:
    """Reads `mlflow.yml`, by default that of the working directory if there is one.

    `MLFLOW_TRACKING_URI` and `MLFLOW_EXPERIMENT_NAME` override it. Relative SQLite files lie in the working directory.

    Raises:
        UserError: one line naming the file and the key.
    """
    source = path or Path(FILE_NAME)
    blocks = _read(source) if path or source.exists() else {}
    for name in blocks:
        if name not in ("tracking", "server"):
            raise UserError(f"{source}: {_unknown(str(name), ['tracking', 'server'])}")
        if not isinstance(blocks[name] or {}, dict):
            raise UserError(f"{source}: `{name}` is not a group of keys; see the commented {FILE_NAME} of cov-study.")
    values = {**(blocks.get("tracking") or {})}
    if "server" in values:
        raise UserError(f"{source}: `server` is a block of its own; move it to the left, out of `tracking`.")
    for key, variable in (("uri", "MLFLOW_TRACKING_URI"), ("experiment", "MLFLOW_EXPERIMENT_NAME")):
        if environ.get(variable):
            values[key] = environ[variable]
        elif values.get(key) is None:
            values.pop(key, None)
    try:
        server = ServerSettings.model_validate(blocks.get("server") or {})
    except ValidationError as error:
        raise UserError(f"{source}: {_one_line(error, 'server', ServerSettings)}") from None
    try:
        settings = TrackingSettings.model_validate(values | {"server": server})
    except ValidationError as error:
        raise UserError(f"{source}: {_one_line(error, 'tracking', TrackingSettings)}") from None
    server = server.model_copy(update={"store": server.store and _absolute(server.store, source, "server.store")})
    where = (
        (Path("environment"), "MLFLOW_TRACKING_URI") if environ.get("MLFLOW_TRACKING_URI") else (source, "tracking.uri")
    )
    uri = _absolute(settings.uri or _default_uri(), *where)
    return settings.model_copy(update={"uri": uri, "server": server})


def scrub(text: str, *, environ: Mapping[str, str] = os.environ) -> str:
    """`text` without credentials: user and password of any URI, and MLflow's own secrets of the environment."""
    text = re.sub(r"(\w://)[^/@\s]+@", r"\1***@", text)
    text = re.sub(r"(?i)([?&][\w.-]*(?:password|passwd|token|secret|key)[\w.-]*=)[^&\s'\"]+", r"\1***", text)
    for variable in (
        "MLFLOW_TRACKING_PASSWORD",
        "MLFLOW_TRACKING_TOKEN",
        "MLFLOW_AUTH_ADMIN_PASSWORD",
        "PGPASSWORD",
    ):
        if environ.get(variable):
            text = text.replace(environ[variable], "***")
    return text


def _default_uri() -> str:
    return f"sqlite:///{Path.cwd() / 'mlflow.db'}"


def _absolute(uri: str, source: Path, key: str) -> str:
    """The URI with an absolute SQLite file (a server's working directory may be another) and a driver."""
    scheme = uri.partition(":")[0] if "://" in uri else ""
    if scheme == "sqlite":
        return f"sqlite:///{Path(unquote(uri.removeprefix('sqlite:///'))).expanduser().absolute()}"
    known = scheme in ("http", "https") or scheme.split("+")[0] in ("postgresql", "mysql", "mssql")
    if not known or not urlsplit(uri).netloc:
        raise UserError(
            f"{source}: `{key}` is {scrub(uri)!r}; write sqlite:///FILE, postgresql://HOST/DATABASE or http://HOST:PORT."
        )
    if scheme == "postgresql":  # SQLAlchemy's default driver is another one from version to version
        uri = uri.replace("postgresql://", "postgresql+psycopg://", 1)
    return uri


def _read(source: Path) -> dict[str, Any]:
    blocks = read_yaml(source, if_absent=f"Copy the commented {FILE_NAME} of cov-study.")
    if not isinstance(blocks or {}, dict):
        raise UserError(f"{source}: holds no blocks; write `tracking:` and `server:`.")
    return blocks or {}


def _unknown(key: str, known: list[str]) -> str:
    near = nearest(key, known)
    return f"unknown key `{key}`; " + (f"did you mean `{near}`?" if near else f"known here: {', '.join(known)}.")


def _one_line(error: ValidationError, block: str, model: type[BaseModel]) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]  # the input may hold a password
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = [name for name in model.model_fields if name != "server"]
        return _unknown(key, known).replace(f"`{key}`", f"`{block}.{key}`", 1)
    message = problem["msg"].removeprefix("Value error, ").rstrip(".")
    return f"`{block}.{key}`: {message[:1].lower() + message[1:]}."
