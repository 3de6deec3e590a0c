"""The image's file tree, built by the Dockerfile's own steps, serves as an unprivileged user, on a
read-only root, without a shell, and writes nothing."""

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from dockerfile import ROOT, final
from e2e.image_root import beside, built, contained, said

from tiergate import __version__

ENTRYPOINT = final("ENTRYPOINT").words
COMMAND = final("CMD").words
HEALTH = json.loads(final("HEALTHCHECK").value.partition("CMD ")[2])
PYTHON = "/opt/tiergate/bin/python"
STARTED = b"tiergate %s listens on http://127.0.0.1:4190\n" % __version__.encode()

CONFIG = """\
[server]
listen = "127.0.0.1:4190"
[request_log]
url = "stdout:"
[providers.mock]
base_url = "http://127.0.0.1:8000/mock-a/v1"
[[tiers.simple]]
provider = "mock"
model = "small"
"""

ASK = """\
import urllib.request
body = b'{"tier": "simple", "messages": [{"role": "user", "content": "hello"}]}'
head = {"Content-Type": "application/json"}
request = urllib.request.Request("http://127.0.0.1:%d/v1/chat/completions", body, head)
print(urllib.request.urlopen(request, timeout=10).read().decode())
"""

WRITE = """\
import os, sys
for folder in sys.argv[1:]:
    try:
        open(folder + "/new", "w").close()
    except OSError as error:
        print(folder, error.errno)
print(os.getuid(), os.getgid(), os.getgroups(), os.path.getsize("/bin/sh"), "bytes of shell")
"""


async def test_it_serves_and_writes_nothing(tmp_path_factory, tmp_path):
    tree = built(tmp_path_factory.getbasetemp())
    async with (
        contained(tree, tmp_path, CONFIG, *ENTRYPOINT, *COMMAND) as tiergate,
        asyncio.timeout(30),
    ):
        assert await tiergate.stderr.readline() == STARTED
        async with beside(tiergate, *ENTRYPOINT, "mock") as mock:
            await mock.stdout.readline()
            code, answer = await said(tiergate, PYTHON, "-c", ASK % 4190)
        assert (code, json.loads(answer)["object"]) == (0, "chat.completion"), answer
        assert json.loads(await tiergate.stdout.readline())["outcome"] == "ok"

        for page, flags in (("live", ()), ("ready", ("--ready",))):
            url = f"http://127.0.0.1:4192/health/{page}"
            assert await said(tiergate, *HEALTH, *flags) == (0, f'{url}: {{"status":"ok"}}\n')

        folders = ("/opt/tiergate", "/etc/tiergate", "/")
        refused = "".join(f"{folder} {errno.EROFS}\n" for folder in folders)
        assert await said(tiergate, PYTHON, "-c", WRITE, *folders) == (
            0,
            f"{refused}65532 65532 [] 0 bytes of shell\n",
        )
        assert not os.listdir(f"/proc/{tiergate.pid}/root/tmp")

        tiergate.send_signal(signal.SIGTERM)
        _, errors = await tiergate.communicate()
        assert (tiergate.returncode, b"Traceback" in errors) == (0, False), errors


async def test_the_fake_providers_need_no_file(tmp_path_factory, tmp_path):
    tree = built(tmp_path_factory.getbasetemp())
    async with (
        contained(tree, tmp_path, "", *ENTRYPOINT, "serve", "--mock") as tiergate,
        asyncio.timeout(30),
    ):
        assert await tiergate.stdout.readline()
        code, answer = await said(tiergate, PYTHON, "-c", ASK % 8080)
        assert (code, json.loads(answer)["object"]) == (0, "chat.completion"), answer
        assert (await said(tiergate, *HEALTH))[0] == 0
        assert not os.listdir(f"/proc/{tiergate.pid}/root/tmp")


async def test_a_health_check_of_nobody_fails(tmp_path_factory, tmp_path):
    tree = built(tmp_path_factory.getbasetemp())
    async with contained(tree, tmp_path, CONFIG, *HEALTH) as health:
        told, error = await health.communicate()
    assert (health.returncode, told) == (1, b"")
    assert error == b"Error: http://127.0.0.1:4192/health/live: Connection refused\n"


def test_it_holds_what_runs_and_nothing_else(tmp_path_factory):
    tree = built(tmp_path_factory.getbasetemp())
    packages = tree / "lib" / "python3.11" / "site-packages"
    assert {path.name for path in (tree / "bin").iterdir()} == {
        *("python", "python3", "python3.11", "tiergate")
    }
    assert (tree / "bin" / "tiergate").read_text().startswith("#!/opt/tiergate/bin/python\n")
    assert not {"pip", "setuptools", "hatchling"} & {path.name for path in packages.iterdir()}
    sources = list(packages.rglob("*.py"))
    assert len(sources) > 1000
    for path in sources:
        compiled = path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc"
        # Flags 1: by hash, never compared with its source.
        assert compiled.read_bytes()[4:8] == b"\x01\x00\x00\x00", path
    for path in tree.rglob("*"):
        assert path.is_symlink() or not path.stat().st_mode & 0o022, path


def test_its_bill_of_materials_lists_the_lock(tmp_path_factory, tmp_path):
    tree = built(tmp_path_factory.getbasetemp())
    tree.with_name("tiergate.built").touch()  # what make calls that tree when it is done
    bill = tmp_path / "sbom.cdx.json"
    done = subprocess.run(
        ["make", "sbom", f"TREE={tree}", f"SBOM={bill}", f"PYTHON={sys.executable}"],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = json.loads(bill.read_text(encoding="utf-8"))
    assert (written["bomFormat"], written["specVersion"]) == ("CycloneDX", "1.6")
    listed = {each["purl"] for each in written["components"]}
    locked = Path(ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = {line.split(" ")[0].replace("==", "@") for line in locked if "==" in line}
    assert listed == {f"pkg:pypi/{pin}" for pin in {*pins, f"tiergate@{__version__}"}}
    assert str(tmp_path) not in bill.read_text(encoding="utf-8")
