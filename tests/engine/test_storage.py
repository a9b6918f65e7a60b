"""What a driver and the nodes of a cluster say to each other about the study's folder."""

import pytest

from study.engine.nodes import Meeting, meet
from trainables.errors import UserError


def test_nodes_that_share_the_folder_pass_and_leave_nothing(tmp_path):
    with Meeting(tmp_path) as meeting:
        meeting.check([(node, node, meet(str(tmp_path), meeting.token, node)) for node in ("a", "b")])
    assert not list(tmp_path.iterdir())


def test_a_node_with_a_folder_of_its_own_is_named(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "own").mkdir()
    with Meeting(tmp_path / "shared") as meeting:
        answer = meet(str(tmp_path / "own"), meeting.token, "b")
        good = meet(str(tmp_path / "shared"), meeting.token, "a")
        with pytest.raises(UserError, match=r"^node second: does not share .*shared .*does not see what the driver"):
            meeting.check([("a", "first", good), ("b", "second", answer)])
    assert not list((tmp_path / "shared").iterdir())


def test_a_copy_of_the_folder_is_not_the_folder(tmp_path):
    # A node whose folder was synchronised once reads an old token, or answers where the driver does not look.
    (tmp_path / "copy").mkdir()
    with Meeting(tmp_path) as meeting:
        (tmp_path / "copy" / ".storage-check-driver").write_text("an older token")
        assert meet(str(tmp_path / "copy"), meeting.token, "a") == "it holds other files there"
        (tmp_path / "copy" / ".storage-check-driver").write_text(meeting.token)
        answer = meet(str(tmp_path / "copy"), meeting.token, "a")
        assert answer is None
        with pytest.raises(UserError, match=r"node n: .*the driver does not see what it writes"):
            meeting.check([("a", "n", answer)])
