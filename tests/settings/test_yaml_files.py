"""Every YAML file that a user wrote or damaged is told in one line, whoever reads it."""

from pathlib import Path

import pytest

from study.settings.reading import load_config
from study.settings.yaml_files import read_yaml
from study.tracking.settings import load_settings
from trainables.errors import UserError

READERS = [load_config, load_settings, lambda path: read_yaml(path, if_absent="Make one.")]
IDS = ["config", "tracking", "any"]


@pytest.mark.parametrize("read", READERS, ids=IDS)
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file. "),
        (b"a: 1\nb: [", ", line 2: not valid YAML (expected the node content"),
        (b"a: *b", ", line 1: not valid YAML (found undefined alias"),
        (b"a: \0", ": not valid YAML (unacceptable character"),
        (b"a: 2020-13-45", ": not valid YAML (month must be in 1..12)"),
        (b"[" * 3000, ": not valid YAML (maximum recursion depth"),
        (b"a: \xff", ": cannot be read ('utf-8' codec"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line(tmp_path: Path, read, content: bytes | None, says: str) -> None:
    path = tmp_path / "mine.yml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read(path)
    message = str(error.value)
    assert message.startswith(f"{path}")
    assert says in message
    assert "\n" not in message
