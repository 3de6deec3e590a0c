"""The callers of a tokens file: who they are, what is refused unrepeated, and how it changes."""

import pytest

from tiergate import Caller, ConfigError
from tiergate_sidecar.settings import Auth
from tiergate_sidecar.tokens import LARGEST, Tokens, read_tokens


def tokens(tmp_path, text):
    path = tmp_path / "tokens"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Tokens(path)


def test_without_a_file_there_are_no_tokens():
    assert read_tokens(Auth()) is None


def test_a_token_tells_its_caller(tmp_path):
    path = tmp_path / "tokens"
    path.write_text("# who may call\n\nada: sk-one\r\n  bob:with:colons  \nada:sk-next\n")
    known = read_tokens(Auth(tokens_file=str(path)))
    assert known.caller("sk-one") == known.caller("sk-next") == Caller("ada")
    assert known.caller("with:colons") == Caller("bob")
    for wrong in ("", "sk-on", "sk-one ", "sk-onee", "ada", "ada: sk-one", "# who may call", "é"):
        assert known.caller(wrong) is None
    assert "sk-" not in repr(known)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ada:a\nsk-secret\n", "line 2: not name:token"),
        (":sk-secret", "line 1: not name:token"),
        ("ada:", "line 1: not name:token"),
        ("ada: sk secret", "line 1: not name:token"),
        ("a da: sk-secret", "line 1: not name:token"),
        ("ada: sk-sécret", "line 1: not name:token"),
        ("ada: " + "s" * 257, "line 1: not name:token"),
        ("ada: sk-secret\nbob: sk-secret", "line 2: the token of ada too"),
        ("# nobody\n\n", "holds no token"),
        (b"ada: \xff", "not UTF-8"),
        ("#" * (LARGEST + 1), "larger than 1048576 bytes"),
    ],
)
def test_a_file_of_no_use_is_refused_and_no_token_is_repeated(tmp_path, text, reason):
    with pytest.raises(ConfigError, match=r"^auth\.tokens_file: ") as refused:
        tokens(tmp_path, text)
    assert reason in str(refused.value)
    assert "sk" not in str(refused.value).replace(str(tmp_path), "")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="No such file or directory"):
        Tokens(tmp_path / "none")


async def test_a_changed_file_is_taken_and_one_of_no_use_changes_nothing(tmp_path, caplog):
    known = tokens(tmp_path, "ada: one")
    known.path.write_text("ada: two\nbob: three")
    await known.read()
    assert [known.caller(each) and known.caller(each).id for each in ("one", "two", "three")] == [
        None,
        "ada",
        "bob",
    ]
    known.path.write_text("oh no")
    await known.read()
    assert known.caller("two") == Caller("ada")
    assert "line 1: not name:token; the tokens from before stay" in caplog.text
