"""Whether files hold the same is told by digest, and a file that cannot be read is a difference too."""

from hashlib import sha256
from pathlib import Path

from spiffe_mcp.agent.contents import contents_of, differing


def test_each_file_has_its_digest_and_one_that_is_not_there_none(tmp_path: Path) -> None:
    one, gone = tmp_path / "one", tmp_path / "gone"
    one.write_bytes(b"1")
    digest = f"sha256:{sha256(b'1').hexdigest()}"
    assert contents_of([one, gone]) == {str(one): digest, str(gone): ""}
    assert contents_of([tmp_path]) == {str(tmp_path): ""}


def test_what_differs_is_told_as_it_is_now() -> None:
    before = {"same": "sha256:1", "other": "sha256:2", "left out": "sha256:3"}
    after = {"same": "sha256:1", "other": "sha256:4", "gone": "", "new": "sha256:5"}
    assert differing(before, after) == {"other": "sha256:4", "gone": "", "new": "sha256:5"}
