"""What `import tiergate` promises: the public names, and no more work than they need."""

import subprocess
import sys

import pytest

import tiergate

COSTLY = ["starlette", "redis", "sqlalchemy", "opentelemetry.sdk", "aiocache", "yaml", "uvicorn"]


def test_every_public_name_is_there():
    for name in tiergate.__all__:
        assert getattr(tiergate, name) is not None


def test_a_name_that_is_not_there_is_said_so():
    with pytest.raises(AttributeError, match="'tiergate' has no attribute 'Nope'"):
        tiergate.Nope  # noqa: B018


def test_importing_it_imports_nothing_costly():
    code = "import sys, tiergate; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert "tiergate.gateway" in imported
    assert not imported & set(COSTLY)
