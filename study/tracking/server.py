"""The MLflow server of `mlflow.yml`, as `cov-study ui` starts it: on loopback, lean, silent towards the outside."""

import importlib.util
import os
import socket
import sys

from study.tracking.settings import TrackingSettings, scrub
from trainables.errors import UserError

MIN_PASSWORD_LENGTH = 12
"""MLflow's own."""


def serve(settings: TrackingSettings) -> None:
    """Becomes the MLflow server that `mlflow.yml` describes; returns only by an error.

    MLflow's own variables (`MLFLOW_HOST`, `MLFLOW_PORT`, `MLFLOW_BACKEND_STORE_URI`, ...) override it.

    Raises:
        UserError: the port is taken, or users are asked for and something for that is missing.
    """
    server = settings.server
    env = {
        # Through the environment, not the command line: a password in the URI would show in the process list.
        "MLFLOW_BACKEND_STORE_URI": settings.store,
        "MLFLOW_ARTIFACTS_DESTINATION": settings.artifact_root,
        "MLFLOW_HOST": server.host,
        "MLFLOW_PORT": str(server.port),
        "MLFLOW_WORKERS": str(server.workers),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    if server.allowed_hosts:
        env["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join(server.allowed_hosts)
    if server.auth:
        env["MLFLOW_FLASK_SERVER_SECRET_KEY"] = os.urandom(32).hex()
    env |= os.environ
    _check_server(env, auth=server.auth)
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        *(["--app-name", "basic-auth"] if server.auth else []),
    ]
    print(
        f"http://{env['MLFLOW_HOST']}:{env['MLFLOW_PORT']} shows {scrub(env['MLFLOW_BACKEND_STORE_URI'])}",
        flush=True,
    )
    os.execvpe(command[0], command, env)


def _check_server(env: dict[str, str], *, auth: bool) -> None:
    if auth and len(env.get("MLFLOW_AUTH_ADMIN_PASSWORD", "")) < MIN_PASSWORD_LENGTH:
        raise UserError(
            "server.auth: set MLFLOW_AUTH_ADMIN_USERNAME and MLFLOW_AUTH_ADMIN_PASSWORD (12 characters or more) first."
        )
    if auth and importlib.util.find_spec("flask_wtf") is None:
        raise UserError("server.auth: needs Flask-WTF; install it with `pip install 'mlflow[auth]'`.")
    host, port = env["MLFLOW_HOST"], env["MLFLOW_PORT"]
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except (OSError, ValueError) as error:
            raise UserError(
                f"server: cannot listen on {host}:{port} ({error}); set server.port in mlflow.yml."
            ) from None
