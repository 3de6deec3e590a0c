"""Which paths somebody else's key may be used for, however they are written."""

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergate_sidecar.allowed_paths import AllowedPaths, is_below_root
from tiergate_sidecar.settings import PASSED_PATHS

DEFAULT = AllowedPaths(PASSED_PATHS)


@pytest.mark.parametrize(
    ("sent", "asked"),
    [
        ("/v1/embeddings", "/v1/embeddings"),
        ("/v1/audio/speech", "/v1/audio/speech"),
        ("/v1/audio/a/b~c:d@e!$&'()*+,=-_.f", "/v1/audio/a/b~c:d@e!$&'()*+,=-_.f"),
        ("/v1/audio/x/", "/v1/audio/x/"),
        ("/v1/%65mbeddings", "/v1/embeddings"),
        ("/v1//embeddings", "/v1/embeddings"),
        ("/v1/./embeddings", "/v1/embeddings"),
        ("/v1/files/../embeddings", "/v1/embeddings"),
        ("/x/%2e%2E/v1/embeddings", "/v1/embeddings"),
        ("/../../v1/embeddings", "/v1/embeddings"),
        ("/v1/audio/a%20b", "/v1/audio/a%20b"),
        ("/v1/audio/caf%C3%A9", "/v1/audio/caf%C3%A9"),
        ("/v1/audio/.hidden", "/v1/audio/.hidden"),
        ("/v1/audio/x/..", "/v1/audio/"),
        ("/v1/audio/a%3fb%23", "/v1/audio/a%3Fb%23"),
    ],
)
def test_an_allowed_path_is_asked_for_in_its_plain_form(sent, asked):
    assert DEFAULT.normal_form(sent.encode()) == asked


@pytest.mark.parametrize(
    "sent",
    [
        "/v1/files", "/v1/embeddings/", "/v1/embeddings/x", "/v1/embeddingsx", "/v1/responses/r1",
        "/v1/audio", "/v1/audiox/y", "/V1/embeddings", "/v1", "/", "/v1/",
        "/v1/audio/../files", "/v1/audio/./../files", "/v1/audio/..//files", "/v1/audio/.%2e/files",
        "/v1/audio/%2e%2e/files", "/v1/audio/%2E./files", "/v1/audio/x/../../files",
        "/v1/audio/..%2ffiles", "/v1/audio/..%2Ffiles", "/v1/audio%2f..%2ffiles",
        "/v1/audio/..%5cfiles", "/v1/audio/..\\files", "/v1/audio/%252e%252e/files",
        "/v1/audio/%25252e%25252e/files", "/v1/audio/..;/files", "/v1/audio/..;a=b/files",
        "/v1/audio/..%3b/files/..", "/v1/audio/%%32e%%32e/files",
        "/v1/audio/%2", "/v1/audio/%", "/v1/audio/%00", "/v1/audio/%0d%0aHost:x", "/v1/audio/%7f",
        "/v1/audio/%ff", "/v1/../admin", "/v1/audio/../../admin",
    ],
)  # fmt: skip
def test_everything_else_is_not_allowed(sent):
    assert DEFAULT.normal_form(sent.encode()) is None


def test_all_may_be_allowed_and_still_nothing_above_the_root():
    everything = AllowedPaths(["*"])
    assert everything.normal_form(b"/v1/files/f-1/content") == "/v1/files/f-1/content"
    assert everything.normal_form(b"/v1/../admin") is None
    assert everything.normal_form(b"/admin") is None


def test_none_may_be_allowed():
    assert AllowedPaths([]).normal_form(b"/v1/embeddings") is None


@pytest.mark.parametrize(
    ("sent", "below"),
    [
        ("/v1/x", True), ("/v1/../x", True), ("//v1/x", True), ("/x/../v1/y", True),
        ("/x/%2e%2e/v1/y", True), ("/%76%31/y", True), ("/./v1/x", True), ("/x/..%2fv1/y", True),
        ("/v1", False), ("/v10/x", False), ("/x/v1/y", False), ("/V1/x", False), ("/", False),
        ("*", False),
    ],
)  # fmt: skip
def test_a_path_is_a_providers_as_sent_or_as_a_server_may_read_it(sent, below):
    assert is_below_root(sent.encode()) is below


SEGMENTS = st.sampled_from(
    [
        "..",
        ".",
        "",
        "files",
        "audio",
        "embeddings",
        "v1",
        "%2e%2e",
        "%2f",
        "..;",
        "%5c",
        "%25",
        "%",
        "32e",
        "a",
    ]
)


@given(st.lists(SEGMENTS, max_size=8), st.sampled_from(["/v1/audio/", "/v1/", "/"]))
def test_what_is_asked_for_means_the_same_to_every_server(segments, start):
    """However often it is decoded, and whether or not detours are taken out of it."""
    asked = DEFAULT.normal_form((start + "/".join(segments)).encode())
    if asked is None:
        return
    for _ in range(3):
        assert asked in PASSED_PATHS or asked.startswith(("/v1/audio/", "/v1/images/"))
        assert not re.search(r"//|/\.\.?(/|$)|\\", asked)
        asked = unquote(asked)
