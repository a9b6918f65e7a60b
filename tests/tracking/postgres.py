"""A real PostgreSQL server for the tests alone: on loopback, in a temporary folder, with a password."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.tracking.conftest import free_port
from tests.waiting import PATIENCE_SECONDS, wait_for

PASSWORD = "geheim-1234"


def binaries() -> Path | None:
    """Folder of `initdb` and `postgres`, None where PostgreSQL is not installed."""
    found = shutil.which("initdb")
    folders = (
        [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    )
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


@contextmanager
def postgresql(*options: str) -> Iterator[str]:
    """The URI, password included, of a database of a server that lives as long as the context.

    Args:
        options: settings of the server, `name=value`.
    """
    folder = binaries()
    assert folder is not None, "no PostgreSQL server here: apt-get install postgresql"
    # PostgreSQL refuses to run as root, and nobody cannot reach into pytest's folders.
    who: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
    home = Path(tempfile.mkdtemp(prefix="cov-study-postgres-"))
    port = free_port()
    try:
        (home / "password").write_text(PASSWORD)
        if who:
            shutil.chown(home, "nobody")
            shutil.chown(home / "password", "nobody")
        subprocess.run(
            [folder / "initdb", "-D", home / "data", "-U", "anna", "-A", "scram-sha-256",
             f"--pwfile={home / 'password'}", "--no-locale", "-E", "UTF8"],
            check=True, capture_output=True, cwd=home, **who,
        )  # fmt: skip
        settings = ["listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=", *options]
        command = [folder / "postgres", "-D", home / "data", *(part for option in settings for part in ("-c", option))]
        with (home / "log").open("wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, cwd=home, **who)
        try:
            yield _answering(f"postgresql://anna:{PASSWORD}@127.0.0.1:{port}/postgres", server, home / "log")
        finally:
            server.send_signal(signal.SIGINT)  # "fast": does not wait for clients
            server.wait(PATIENCE_SECONDS)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _answering(uri: str, server: subprocess.Popen[bytes], log: Path) -> str:
    import psycopg

    def answers() -> bool:
        with suppress(psycopg.OperationalError):
            psycopg.connect(uri).close()
            return True
        return False

    wait_for(answers, server, "the server does not answer", log=log)
    return uri
