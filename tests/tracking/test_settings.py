"""`mlflow.yml`: defaults, overrides, errors in one line, and no credential anywhere."""

from pathlib import Path

import pytest
import yaml

from study.tracking.settings import TrackingSettings, load_settings, scrub
from trainables.errors import UserError

SHIPPED = Path(__file__).parents[2] / "mlflow.yml"


def load(text: str, path: Path, **environ: str) -> TrackingSettings:
    path.write_text(text)
    return load_settings(path, environ=environ)


def test_without_a_file_sqlite_in_the_working_directory(tmp_path: Path) -> None:
    settings = load_settings(environ={})
    assert settings.uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert settings.experiment == "cov-study"
    assert settings.artifact_root == f"file://{tmp_path}/mlartifacts"


def test_the_shipped_file_spells_out_every_default(tmp_path: Path) -> None:
    assert load_settings(SHIPPED, environ={}) == load_settings(environ={})
    blocks = yaml.safe_load(SHIPPED.read_text())
    default = load_settings(environ={})
    assert set(blocks["tracking"]) == set(TrackingSettings.model_fields) - {"server"}
    assert set(blocks["server"]) == set(type(default.server).model_fields)


def test_the_file_of_the_working_directory_is_found(tmp_path: Path) -> None:
    (tmp_path / "mlflow.yml").write_text("tracking: {experiment: heads}\nserver: {port: 5001}")
    settings = load_settings(environ={})
    assert (settings.experiment, settings.server.port) == ("heads", 5001)


def test_the_environment_wins_as_mlflow_users_expect(tmp_path: Path) -> None:
    text = "tracking: {uri: 'http://file:5000', experiment: file}"
    settings = load(text, tmp_path / "m.yml", MLFLOW_TRACKING_URI="http://env:5000", MLFLOW_EXPERIMENT_NAME="env")
    assert (settings.uri, settings.experiment) == ("http://env:5000", "env")


def test_a_relative_sqlite_file_becomes_absolute(tmp_path: Path) -> None:
    settings = load("tracking: {uri: 'sqlite:///deep/runs.db'}", tmp_path / "m.yml")
    assert settings.uri == f"sqlite:///{tmp_path}/deep/runs.db"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tracking: {experimnt: x}", "m.yml: unknown key `tracking.experimnt`; did you mean `experiment`?"),
        ("server: {prot: 1}", "m.yml: unknown key `server.prot`; did you mean `port`?"),
        ("traking: {}", "m.yml: unknown key `traking`; did you mean `tracking`?"),
        ("server: {port: 70000}", "`server.port`: input should be less than or equal to 65535."),
        ("tracking: {mirror: some}", "`tracking.mirror`: input should be 'none', 'arms', 'trials' or 'epochs'."),
        ("tracking: {uri: mlruns}", "`tracking.uri` is 'mlruns'; write sqlite:///FILE"),
        ("tracking: {uri: 'file:///x'}", "`tracking.uri` is 'file:///x'; write sqlite:///FILE"),
        ("tracking: {tags: {'a=b': c}}", "`tracking.tags.a=b"),
        ("tracking: 3", "`tracking` is not a group of keys"),
        ("tracking: {server: {}}", "`server` is a block of its own"),
        ("[1, 2]", "holds no blocks"),
        ("a: [", "m.yml, line 1: not valid YAML"),
    ],
)
def test_a_mistake_is_one_line_with_file_and_key(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(text, tmp_path / "m.yml")
    message = str(caught.value)
    assert says in message
    assert "m.yml" in message
    assert "\n" not in message


def test_a_wrong_uri_in_the_environment_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI"):
        load("", tmp_path / "m.yml", MLFLOW_TRACKING_URI="nonsense")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yml: no such file"):
        load_settings(tmp_path / "none.yml")


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://anna:pa%2Fss@db:5432/mlflow",
        "http://anna:pa%2Fss@server:5000",
        "postgresql://db/mlflow?user=anna&password=pa%2Fss&sslmode=require",
    ],
)
def test_credentials_never_show(uri: str, tmp_path: Path) -> None:
    settings = load("", tmp_path / "m.yml", MLFLOW_TRACKING_URI=uri)
    assert settings.uri == uri.replace("postgresql:", "postgresql+psycopg:")
    assert "pa%2Fss" not in settings.masked_uri
    assert "***" in settings.masked_uri
    assert "pa%2Fss" not in scrub(f"could not reach {uri}/api/2.0, giving up")


def test_a_mistake_beside_a_password_does_not_print_it(tmp_path: Path) -> None:
    for text in ("tracking: {uri: 'ftp://anna:geheim@db/x'}", "tracking: {uri: ['http://anna:geheim@db']}"):
        with pytest.raises(UserError) as caught:
            load(text, tmp_path / "m.yml")
        assert "geheim" not in str(caught.value)


def test_secrets_of_the_environment_are_scrubbed() -> None:
    assert scrub("token s3cret", environ={"MLFLOW_TRACKING_TOKEN": "s3cret"}) == "token ***"


def test_the_server_shows_what_the_studies_write(tmp_path: Path) -> None:
    team = load("server: {store: 'postgresql://db/mlflow'}", tmp_path / "m.yml", MLFLOW_TRACKING_URI="http://s:5000")
    assert team.store == "postgresql+psycopg://db/mlflow"
    assert load("", tmp_path / "m.yml").store == f"sqlite:///{tmp_path}/mlflow.db"
    assert load("", tmp_path / "m.yml", MLFLOW_TRACKING_URI="http://s:5000").store == f"sqlite:///{tmp_path}/mlflow.db"
