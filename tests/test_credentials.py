"""Keys and certificates: read from files and variables each time anew, and refused without a trace.

Every problem is told at once and names its setting; no text and no repr holds a key.
"""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tiergate.config import Config, Provider, TierConfig
from tiergate.credentials import read_credentials, read_secret
from tiergate.errors import ConfigError


def config(tier_config: TierConfig | None = None, **settings: Any) -> Config:
    provider = Provider(base_url="http://p1.test", **settings)
    return Config(providers={"p1": provider}, tier_config=tier_config or TierConfig())


def key(environ: dict[str, str] | None = None, **settings: Any) -> str | None:
    return read_credentials(config(**settings), environ or {}).keys["p1"]


def refusal(of: Config, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        read_credentials(of, environ or {})
    return str(caught.value)


def certificate(folder: Path) -> str:
    """The text (PEM) of a certificate that signs itself; its key is beside it."""
    made, private = folder / "made.pem", folder / "key.pem"
    curve = "-newkey ec -pkeyopt ec_paramgen_curve:P-256"
    command = f"openssl req -x509 {curve} -nodes -days 2 -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-keyout", private, "-out", made],
        check=True,
        capture_output=True,
    )
    return made.read_text()


def test_a_key_comes_from_the_environment_or_a_file(tmp_path):
    (tmp_path / "key").write_text("sk-file\n")
    file = str(tmp_path / "key")
    assert key({"KEY": " sk-env\n"}, api_key_env="KEY") == "sk-env"
    assert key(api_key_file=file) == "sk-file"
    assert key({"KEY": "x"}, api_key_env="KEY", api_key_file=file) == "sk-file"
    (tmp_path / "key").write_text("sk-rotated")
    assert key(api_key_file=file) == "sk-rotated"


def test_a_provider_may_have_no_key_of_ours():
    assert key() is None
    assert key({"KEY": "sk"}, api_key_env="KEY", credentials="client") is None


@pytest.mark.parametrize("held", [None, "", " \n", "sk-ä", "sk\r\nx: y"])
def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(tmp_path, held):
    environ = {} if held is None else {"KEY": held}
    assert refusal(config(api_key_env="KEY"), environ) == (
        "providers.p1: no usable key in the environment variable KEY; set it, or name another"
        " place with api_key_env or api_key_file"
    )
    file = tmp_path / "key"
    if held is not None:
        file.write_text(held)
    text = refusal(config(api_key_file=str(file)))
    assert text.startswith("providers.p1")
    assert str(file) in text
    assert "sk" not in text.replace(str(file), "")


@pytest.mark.parametrize("pasted", ["sk-proj-1", "sk 1", "1sk", "ské", "sk.1"])
def test_a_key_in_place_of_a_variables_name_is_never_repeated(pasted):
    service = TierConfig(source="http", url="http://c", api_key_env=pasted)
    both = refusal(config(service, api_key_env=pasted), {pasted: "key"})
    with pytest.raises(ConfigError) as caught:
        read_secret(pasted, "admin.token_env", environ={pasted: "key"})
    says = "not the name of a variable; the key itself goes into one"
    assert both == f"providers.p1.api_key_env: {says}; tier_config.api_key_env: {says}"
    assert str(caught.value) == f"admin.token_env: {says}"


def test_a_key_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    text = refusal(config(api_key_file=str(tmp_path / "key")))
    assert text == f"providers.p1.api_key_file: cannot read {tmp_path / 'key'}: not UTF-8"


def test_the_key_of_the_tiers_service_is_read_where_one_is_named():
    named = TierConfig(source="http", url="http://c", api_key_env="ZION")
    assert read_credentials(config(named), {"ZION": " zion\n"}).service_key == "zion"
    without = TierConfig(source="http", url="http://c")
    assert read_credentials(config(without), {"ZION": "zion"}).service_key is None
    unused = TierConfig(source="file", file="a.json", api_key_env="ZION")
    assert read_credentials(config(unused), {}).service_key is None
    for environ in ({}, {"ZION": ""}, {"ZION": "zïon"}):
        text = refusal(config(named), environ)
        assert text == "tier_config.api_key_env: no usable key in the variable ZION"


def test_the_certificates_of_a_provider_are_read_whatever_their_comments_say(tmp_path):
    pem = certificate(tmp_path)
    file = tmp_path / "ca.pem"
    for comment in ("", "# Autoridad de Certificación\n"):
        file.write_text(comment + pem, encoding="utf-8")
        read = read_credentials(config(ca_file=str(file)), {}).authorities["p1"]
        assert read is not None
        assert read.endswith(pem)
        assert read.isascii()
    assert read_credentials(config(), {}).authorities == {"p1": None}


@pytest.mark.parametrize("held", ["", "\n", "hello", "hellö", "key", "broken"])
def test_a_file_without_a_certificate_is_refused(tmp_path, held):
    pem = certificate(tmp_path)
    texts = {"key": (tmp_path / "key.pem").read_text(), "broken": pem[: len(pem) // 2]}
    (tmp_path / "ca.pem").write_text(texts.get(held, held), encoding="utf-8")
    file = str(tmp_path / "ca.pem")
    text = refusal(config(ca_file=file))
    assert text == f"providers.p1.ca_file: {file} holds no certificate in PEM form"


def test_every_problem_is_told_at_once(tmp_path):
    providers = {
        "p1": Provider(base_url="http://a", api_key_env="KEY"),
        "p2": Provider(base_url="http://b", api_key_file=str(tmp_path / "none")),
        "p3": Provider(base_url="http://c", ca_file=str(tmp_path / "none")),
        "p4": Provider(base_url="http://d"),
    }
    service = TierConfig(source="http", url="http://c", api_key_env="ZION")
    text = refusal(Config(providers=providers, tier_config=service))
    assert [part.split(":")[0] for part in text.split("; ") if not part.startswith("set it")] == [
        "providers.p1",
        "providers.p2.api_key_file",
        "providers.p3.ca_file",
        "tier_config.api_key_env",
    ]


def test_the_files_behind_it_are_known_and_nothing_shows_a_key(tmp_path):
    (tmp_path / "key").write_text("sk-1")
    (tmp_path / "ca.pem").write_text(certificate(tmp_path))
    files = {"api_key_file": str(tmp_path / "key"), "ca_file": str(tmp_path / "ca.pem")}
    read = read_credentials(config(**files), {})
    assert read.files == {tmp_path / "key", tmp_path / "ca.pem"}
    assert repr(read) == "<Credentials of p1>"


def test_without_being_told_otherwise_the_environment_is_the_processs(monkeypatch):
    monkeypatch.setenv("KEY", "sk")
    assert read_credentials(config(api_key_env="KEY"), None).keys == {"p1": "sk"}
