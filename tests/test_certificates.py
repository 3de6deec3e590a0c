"""The live certificate: each connection gets a pair that matches, the newest that could be used.

Handshakes are made in memory: `SSLObject`s without a socket between them.
"""

import logging
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from tiergate import ConfigError
from tiergate_sidecar.certificates import Certificates
from tiergate_sidecar.make_certs import make_certs

NOW = datetime.now(UTC)


def made(folder, days=365):
    make_certs(folder, ["localhost", "127.0.0.1"], NOW, days)
    return folder


def certificates(folder, failed=lambda: None):
    return Certificates(folder / "tls.crt", folder / "tls.key", failed)


def shake(served, *, authority=None, name="localhost", highest=None):
    """The certificate that a client of now gets; raises `ssl.SSLError` when it gets none."""
    client = ssl.create_default_context(cafile=authority)
    if authority is None:
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    if highest:
        client.maximum_version = highest
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        served.context.wrap_bio(there, back, server_side=True),
        client.wrap_bio(back, there, server_hostname=name),
    )
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ends[1].version() is not None, "no handshake"
    return ends[1].getpeercert(binary_form=True)


def der(folder):
    return ssl.PEM_cert_to_DER_cert((folder / "tls.crt").read_text())


@pytest.mark.parametrize("highest", [None, ssl.TLSVersion.TLSv1_2])
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
async def test_a_pair_is_served_to_who_names_the_server_and_to_who_does_not(
    tmp_path, name, highest
):
    served = certificates(made(tmp_path))
    assert not served.loaded
    await served.read()
    got = shake(served, authority=tmp_path / "ca.crt", name=name, highest=highest)
    assert got == der(tmp_path)
    assert served.loaded
    assert abs(served.expires - (NOW + timedelta(days=365)).timestamp()) <= 1


def test_nothing_older_than_tls_1_2_is_spoken(tmp_path):
    assert certificates(tmp_path).context.minimum_version is ssl.TLSVersion.TLSv1_2


async def test_until_there_is_a_pair_connections_are_refused(tmp_path, caplog):
    failures = []
    served = certificates(tmp_path / "later", failed=lambda: failures.append(1))
    await served.read()
    assert (served.loaded, served.expires, len(failures)) == (False, None, 1)
    assert f"cannot use {tmp_path}/later/tls.crt" in caplog.text
    assert "No such file or directory" in caplog.text
    assert "stays" not in caplog.text
    with pytest.raises(ssl.SSLError, match=r"CALLBACK_FAILED|INTERNAL_ERROR"):
        shake(served)
    made(tmp_path / "later")
    await served.read()
    assert shake(served) == der(tmp_path / "later")


async def test_a_new_pair_is_for_new_connections(tmp_path):
    served = certificates(made(tmp_path))
    await served.read()
    old = shake(served)
    made(tmp_path, days=30)
    assert shake(served) == old  # until it is told to read
    await served.read()
    assert shake(served) == der(tmp_path) != old
    assert abs(served.expires - (NOW + timedelta(days=30)).timestamp()) <= 1


def mismatched(folder, other):
    (folder / "tls.key").write_bytes((made(other) / "tls.key").read_bytes())


def locked(folder, _):
    command = ("openssl", "ec", "-aes128", "-passout", "pass:x", "-in", folder / "tls.key")
    subprocess.run((*command, "-out", folder / "tls.key"), check=True, capture_output=True)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (mismatched, "KEY_VALUES_MISMATCH"),
        (locked, "cannot use"),
        (lambda folder, _: (folder / "tls.crt").unlink(), "No such file"),
        (lambda folder, _: (folder / "tls.crt").write_text(""), "cannot use"),
        (lambda folder, _: (folder / "tls.key").write_text("half a k"), "cannot use"),
        (lambda folder, _: (folder / "tls.crt").write_bytes(b"\xff\0" * 9), "cannot use"),
    ],
)
async def test_a_bad_pair_is_logged_and_the_one_from_before_stays(tmp_path, caplog, spoil, said):
    folder, failures = made(tmp_path / "tls"), []
    served = certificates(folder, failed=lambda: failures.append(1))
    await served.read()
    good, until = shake(served), served.expires
    spoil(folder, tmp_path / "other")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        await served.read()
    (line,) = caplog.messages
    assert said in line
    assert line.endswith("the one from before stays")
    assert (shake(served), served.expires, len(failures)) == (good, until, 1)
    made(folder, days=9)
    await served.read()
    assert shake(served) == der(folder) != good


async def test_a_chain_is_served_whole_and_its_first_certificate_counts(tmp_path):
    made(tmp_path, days=9)
    chain = tmp_path / "tls.crt"
    leaf = der(tmp_path)
    chain.write_bytes(chain.read_bytes() + (tmp_path / "ca.crt").read_bytes())
    served = certificates(tmp_path)
    await served.read()
    assert shake(served) == leaf
    assert abs(served.expires - (NOW + timedelta(days=9)).timestamp()) <= 1


def test_without_the_library_that_reads_them_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ConfigError, match=r"tiergate\[webhook\]"):
        certificates(tmp_path)
