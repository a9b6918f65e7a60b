"""The backend of teams: a PostgreSQL server that the test starts itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from study.tracking.mirror import Mirror, sync
from study.tracking.settings import load_settings
from tests.tracking.conftest import contents, replay_into, serving
from tests.tracking.postgres import PASSWORD, binaries, postgresql
from tests.waiting import PATIENCE_SECONDS
from trainables.errors import UserError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(binaries() is None, reason="no PostgreSQL server here: apt-get install postgresql"),
]


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgresql("fsync=off") as uri:
        yield uri


def test_the_same_as_in_sqlite_and_three_replays_add_nothing(
    database: str, study: Path, expected: dict[str, Any]
) -> None:
    settings = load_settings(environ={"MLFLOW_TRACKING_URI": database})
    assert sync(study, settings)["created"] == len(expected)
    assert contents(database) == expected
    before = _counts(database)
    for _ in range(2):
        assert sync(study, settings)["created"] == 0
    assert _counts(database) == before


def test_the_living_mirror_and_the_team_server_on_the_same_database(
    database: str, study: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    """The driver writes into the database, the server of the `server:` block shows it; the password shows nowhere."""
    settings = load_settings(environ={"MLFLOW_TRACKING_URI": database, "MLFLOW_EXPERIMENT_NAME": "living"})
    said: list[str] = []
    mirror = Mirror(settings, tmp_path / "study", say=said.append, start_seconds=0)
    replay_into(tmp_path / "study", study, mirror=mirror)
    mirror.close(timeout=PATIENCE_SECONDS)
    assert said == []
    with serving(tmp_path, server=f"  store: {database}\n") as server:
        assert contents(server.uri, "living") == expected
        assert PASSWORD not in (tmp_path / "server.log").read_text()
        assert PASSWORD not in Path(f"/proc/{server.pid}/cmdline").read_text()


def test_a_wrong_password_is_one_line_without_it(database: str, study: Path) -> None:
    wrong = database.replace(PASSWORD, "not-the-password")
    with pytest.raises(UserError) as caught:
        sync(study, load_settings(environ={"MLFLOW_TRACKING_URI": wrong}))
    message = str(caught.value)
    assert "\n" not in message
    assert "not-the-password" not in message
    assert "password authentication failed" in message


def _counts(uri: str) -> dict[str, int]:
    import psycopg

    with psycopg.connect(uri) as connection, connection.cursor() as cursor:
        found = {}
        for table in ("runs", "metrics", "latest_metrics", "params", "tags"):
            cursor.execute(f"select count(*) from {table}")
            found[table] = cursor.fetchone()[0]
        return found
