"""`--make-certs`: a chain that a strict client trusts, files that only their owner reads, and a
change of certificates during which neither the old nor the new one is refused."""

import base64
import json
import stat
import sys
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from tiergate import ConfigError
from tiergate_sidecar.make_certs import SERVICE, make_certs

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
YEAR = timedelta(days=365)


def certificates(folder, name="tls.crt"):
    return x509.load_pem_x509_certificates((folder / name).read_bytes())


def verify(folder, name=SERVICE, *, at=NOW, leaf=None):
    """As a client does that trusts `ca.crt` and wants that name; strict, as Go's library."""
    store = Store(certificates(folder, "ca.crt"))
    verifier = PolicyBuilder().store(store).time(at).build_server_verifier(x509.DNSName(name))
    return verifier.verify(leaf or certificates(folder)[0], [])


def test_the_certificate_is_trusted_by_its_name_for_a_year(tmp_path):
    make_certs(tmp_path, [SERVICE], NOW)
    for at in (NOW, NOW - timedelta(minutes=4), NOW + YEAR - timedelta(seconds=1)):
        assert len(verify(tmp_path, at=at)) == 2
    for at in (NOW - timedelta(minutes=6), NOW + YEAR + timedelta(seconds=1)):
        with pytest.raises(VerificationError):
            verify(tmp_path, at=at)
    with pytest.raises(VerificationError):
        verify(tmp_path, "elsewhere.tiergate.svc")


def test_the_key_is_the_certificates_and_nobody_elses(tmp_path):
    make_certs(tmp_path / "new" / "folder", [SERVICE], NOW)
    folder = tmp_path / "new" / "folder"
    key = load_pem_private_key((folder / "tls.key").read_bytes(), None)
    assert key.public_key() == certificates(folder)[0].public_key()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) & 0o077 for path in folder.iterdir()}
    assert modes.keys() == {"tls.crt", "tls.key", "ca.crt", "secret.yaml", "ca-bundle.json"}
    assert modes["tls.key"] == modes["secret.yaml"] == 0


def test_names_may_be_several_and_addresses_too(tmp_path):
    make_certs(tmp_path, ["localhost", "127.0.0.1", "::1"], NOW)
    extension = certificates(tmp_path)[0].extensions
    names = extension.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


def test_the_authority_signs_servers_and_no_other_authority(tmp_path):
    make_certs(tmp_path, [SERVICE], NOW)
    (authority,) = certificates(tmp_path, "ca.crt")
    basic = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert files.count(b"PRIVATE KEY-----\n") == 2  # one key's two lines: the authority's is gone


@pytest.mark.parametrize(
    ("name", "namespace"),
    [
        (SERVICE, "tiergate"),
        ("hook.platform.svc", "platform"),
        ("hook.123.svc", "123"),
        ("hook.null.svc", "null"),
        ("localhost", "tiergate"),
        ("a.b.example", "tiergate"),
    ],
)
def test_the_secret_can_be_applied_as_it_is(tmp_path, name, namespace):
    make_certs(tmp_path, [name], NOW)
    secret = yaml.safe_load((tmp_path / "secret.yaml").read_text())
    assert (secret["apiVersion"], secret["kind"], secret["type"]) == (
        *("v1", "Secret"),
        "kubernetes.io/tls",
    )
    assert secret["metadata"] == {"name": "tiergate-webhook-tls", "namespace": namespace}
    for file, content in secret["data"].items():
        assert base64.b64decode(content) == (tmp_path / file).read_bytes()
    assert secret["data"].keys() == {"tls.crt", "tls.key"}


def test_the_patch_makes_both_webhooks_trust_the_bundle(tmp_path):
    lines = make_certs(tmp_path, [SERVICE], NOW)
    patch = json.loads((tmp_path / "ca-bundle.json").read_text())
    assert [(each["op"], each["path"]) for each in patch] == [
        ("add", "/webhooks/0/clientConfig/caBundle"),
        ("add", "/webhooks/1/clientConfig/caBundle"),
    ]
    for each in patch:
        assert base64.b64decode(each["value"]) == (tmp_path / "ca.crt").read_bytes()
    told = "\n".join(lines)
    assert told.index("ca-bundle.json") < told.index("apply -f")  # trusted before it is shown


def test_while_certificates_change_the_bundle_trusts_both(tmp_path):
    make_certs(tmp_path, [SERVICE], NOW)
    (old,) = certificates(tmp_path)
    later = NOW + timedelta(days=300)
    make_certs(tmp_path, [SERVICE], later)
    assert certificates(tmp_path)[0] != old
    for leaf in (old, certificates(tmp_path)[0]):
        verify(tmp_path, at=later, leaf=leaf)
    make_certs(tmp_path, [SERVICE], later)  # the bundle does not grow: the last two are in it
    assert len(certificates(tmp_path, "ca.crt")) == 2
    with pytest.raises(VerificationError):
        verify(tmp_path, at=later, leaf=old)


def test_an_authority_that_has_ended_is_left_out(tmp_path):
    make_certs(tmp_path, [SERVICE], NOW)
    make_certs(tmp_path, [SERVICE], NOW + YEAR + timedelta(days=1))
    assert len(certificates(tmp_path, "ca.crt")) == 1


def test_a_key_that_others_could_read_is_replaced_by_one_that_they_cannot(tmp_path):
    (tmp_path / "tls.key").write_text("old")
    (tmp_path / "tls.key").chmod(0o644)
    with (tmp_path / "tls.key").open() as held:
        make_certs(tmp_path, [SERVICE], NOW)
        assert held.read() == "old"
    assert stat.S_IMODE((tmp_path / "tls.key").stat().st_mode) == 0o600


def test_what_cannot_be_done_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write to .*file: "):
        make_certs(tmp_path / "file", [SERVICE], NOW)
    with pytest.raises(ConfigError, match="--name: "):
        make_certs(tmp_path, ["bücher.example"], NOW)
    (tmp_path / "ca.crt").write_text("mine")
    with pytest.raises(ConfigError, match=r"ca\.crt is no certificate"):
        make_certs(tmp_path, [SERVICE], NOW)
    assert not (tmp_path / "tls.key").exists()


def test_without_the_library_that_makes_them_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ConfigError, match=r"tiergate\[webhook\]"):
        make_certs(tmp_path, [SERVICE], NOW)
