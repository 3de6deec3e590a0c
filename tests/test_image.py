"""The image on paper: the Dockerfile says what the manifests rely on, everything it installs is
locked by hash and satisfies pyproject.toml, and no secret reaches a builder.

What it does when it runs: tests/e2e/test_image_tree.py.
"""

import re
import shutil
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest
from dockerfile import DOCKERFILE, ROOT, final, pairs
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tiergate import __version__
from tiergate_sidecar import labels
from tiergate_sidecar.health_command import PROBES_VARIABLE, TIMEOUT_SECONDS
from tiergate_sidecar.settings import DEFAULT_FILE, parse_address

SECRETS = (
    *(".git/config", ".env", "tiergate.toml", "tiergate.db", ".venv/pyvenv.cfg", "k8s/secret.yaml"),
    *("dist/x", "tests/x.py", "middleware/tiergate/.env", "middleware/tiergate/__pycache__/a.pyc"),
)
NEEDED = (
    *("pyproject.toml", "README.md", "LICENSE", "requirements.lock", "image/build-tree.sh"),
    *("image/build.lock", "middleware/tiergate/__init__.py", "sidecar/tiergate_sidecar/cli.py"),
    *("sidecar/tiergate_sidecar/inspector.html", "middleware/tiergate/py.typed"),
    "sidecar/tiergate_sidecar/inspector_decisions.js",
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
IN_THE_IMAGE = {"python_full_version": "3.11.9", "sys_platform": "linux", "extra": ""}


def locked(name):
    """Version and hashes of each package of a lock."""
    pins = {}
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            pin, *hashes = line.split()
            package, version = pin.split("==")
            pins[package] = (version, hashes)
    return pins


def required(extra):
    """The requirements of the project and an extra of it, extras of extras taken apart."""
    listed = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    for text in listed:
        requirement = Requirement(text)
        if requirement.name == "tiergate":
            for inner in requirement.extras:
                yield from required(inner)
        elif requirement.marker is None or requirement.marker.evaluate(IN_THE_IMAGE):
            yield requirement


def ignored(path):
    """Whether .dockerignore keeps that away: the last pattern that fits a path or a folder wins."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        if pattern and not pattern.startswith("#"):
            parts = [path, *(str(folder) for folder in Path(path).parents if folder.name)]
            fits = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
            if any(re.fullmatch(fits, part) for part in parts):
                verdict = not line.startswith("!")
    return verdict


def test_the_manifests_find_what_they_name():
    assert (final("USER").value, labels.USER) == ("65532:65532", 65532)
    assert final("ENTRYPOINT").words == ["/opt/tiergate/bin/tiergate"]
    assert final("CMD").words == ["serve", "-c", labels.CONFIG_FILE]
    assert final("WORKDIR").value == labels.CONFIG_FOLDER
    assert f"{final('WORKDIR').value}/{DEFAULT_FILE}" == labels.CONFIG_FILE
    ports = {int(port) for port in final("EXPOSE").words}
    assert ports == {labels.CLIENT_PORT, labels.PROBES_PORT}
    assert final("STOPSIGNAL").value == "SIGTERM"


def test_the_health_check_is_the_binary_itself_and_reads_no_file():
    options, _, command = final("HEALTHCHECK").value.partition("CMD ")
    assert command == '["/opt/tiergate/bin/tiergate", "health"]'
    timeout = re.search(r"--timeout=(\d+)s", options)
    assert timeout
    assert int(timeout[1]) > TIMEOUT_SECONDS
    probes = parse_address(pairs("ENV")[PROBES_VARIABLE], PROBES_VARIABLE)
    assert (probes.host, probes.port) == ("127.0.0.1", labels.PROBES_PORT)


def test_nothing_is_written_and_nothing_held_back():
    environ = pairs("ENV")
    assert environ["PYTHONDONTWRITEBYTECODE"] == environ["PYTHONUNBUFFERED"] == "1"
    assert "unchecked-hash" in final("RUN").value  # the base brings no compiled standard library
    assert not [each for each in DOCKERFILE if each.name == "VOLUME"]


def test_it_is_labelled():
    said = {name.removeprefix("org.opencontainers.image."): v for name, v in pairs("LABEL").items()}
    assert (said["title"], said["licenses"]) == (PROJECT["name"], PROJECT["license"])
    assert (said["version"], said["revision"]) == ("${VERSION}", "${REVISION}")
    arguments = {each.value for each in DOCKERFILE if each.name == "ARG"}
    assert f"VERSION={__version__}" in arguments
    assert {"description", "base.name"} <= said.keys()


def test_it_ends_as_nobody_with_the_tree_alone():
    copied = [each.value for each in DOCKERFILE if each.name == "COPY" and each.stage == 1]
    assert copied == ["--from=build /opt/tiergate /opt/tiergate"]
    names = [each.name for each in DOCKERFILE if each.stage == 1]
    assert "RUN" not in names[names.index("USER") :]
    assert [each.value for each in DOCKERFILE if each.name == "ADD"] == []
    assert {each.value.split()[0] for each in DOCKERFILE if each.name == "FROM"} == {"${BASE}"}


def test_the_dockerfile_and_make_build_the_tree_by_the_same_script():
    (run,) = [each for each in DOCKERFILE if each.name == "RUN" and each.stage == 0]
    assert run.words == ["sh", "image/build-tree.sh", "/opt/tiergate"]
    assert "sh image/build-tree.sh $(TREE)" in (ROOT / "Makefile").read_text(encoding="utf-8")
    script = (ROOT / "image" / "build-tree.sh").read_text(encoding="utf-8")
    assert "install --require-hashes --no-deps --only-binary :all:" in script


def test_hadolint_finds_nothing():
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run(
        [hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", SECRETS)
def test_what_no_builder_needs_stays_here(path):
    assert ignored(path)


@pytest.mark.parametrize("path", NEEDED)
def test_what_the_build_needs_reaches_it(path):
    assert not ignored(path)
    assert (ROOT / path).exists()


@pytest.mark.parametrize("name", ["requirements.lock", "image/build.lock"])
def test_a_lock_names_hashes_and_no_place(name):
    pins = locked(name)
    assert pins
    for package, (_, hashes) in pins.items():
        assert hashes, package
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), package
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"://|--index|--find-links|@ ", text)


def test_the_lock_satisfies_the_project():
    pins = locked("requirements.lock")
    wanted = [*required(""), *required("sidecar")]
    assert len(wanted) > 10
    for requirement in wanted:
        assert canonicalize_name(requirement.name) in pins, f"make lock: {requirement}"
        version, _ = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"make lock: {requirement}, not {version}"
        for extra in requirement.extras:
            assert f"{requirement.name}-{extra}" in pins  # psycopg[binary] is psycopg-binary
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]
    for requirement in map(Requirement, build["requires"]):
        version, _ = locked("image/build.lock")[requirement.name]
        assert requirement.specifier.contains(version)


def test_the_lock_holds_only_what_the_image_needs():
    """Each package is there for another of the lock, or for the project itself."""
    pins = locked("requirements.lock")
    sidecar = {canonicalize_name(each.name) for each in [*required(""), *required("sidecar")]}
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.findall(r"^([\w.-]+)==.*\n(?:    --.*\n)*((?:    #.*\n)+)", text, re.MULTILINE)
    assert [package for package, _ in entries] == list(pins)
    for package, reasons in entries:
        because = set(re.findall(r"#\s+(?:via )?([\w.-]+)", reasons)) - {"via", "tiergate"}
        assert package in sidecar or because, package
        assert because <= pins.keys(), package
    assert not {"pip", "setuptools", "hatchling", "uv", "pytest", "mypy", "ruff"} & pins.keys()


@pytest.mark.parametrize("builder", ["no-such-docker", "false"])
def test_make_image_without_a_builder_says_so(builder):
    make = shutil.which("make")
    assert make
    done = subprocess.run(
        [make, "image", f"DOCKER={builder}"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode
    assert f"make image: {builder} does not run here" in done.stderr
