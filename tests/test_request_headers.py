"""A client's headers: ours are read or refused by name, few go on, and none breaks its line."""

import pytest

from tiergate.errors import InvalidRequest, UnsupportedEncoding
from tiergate.request_headers import PASSED_ON, check_encoding, read_headers


def test_a_request_without_our_headers_says_nothing():
    seen = read_headers([(b"accept", b"*/*"), (b"x-sentinel-else", b"?")])
    assert (seen.tier, seen.conversation, seen.deadline_seconds) == (None, None, None)
    assert (seen.client_request_id, seen.idempotency_key, seen.policy) == (None, None, None)


def test_our_headers_are_read():
    seen = read_headers(
        [
            (b"x-sentinel-tier", b" complex "),
            (b"x-sentinel-conversation", "gr\u00fc\u00df".encode()),
            (b"x-sentinel-deadline-ms", b"1500"),
            (b"x-sentinel-stream-failover", b"off"),
            (b"x-arbstr-policy", b" legal "),
            (b"x-request-id", b"theirs"),
            (b"idempotency-key", b"once"),
        ]
    )
    assert (seen.tier, seen.conversation, seen.deadline_seconds) == (
        "complex",
        "gr\u00fc\u00df",
        1.5,
    )
    assert (seen.client_request_id, seen.idempotency_key) == ("theirs", "once")
    assert seen.policy == "legal"


@pytest.mark.parametrize("mode", ["off", "first_token", "buffered"])
def test_a_request_may_choose_its_streaming_mode(mode):
    assert read_headers([(b"x-sentinel-stream-failover", mode.encode())]).failover == mode
    assert read_headers([]).failover is None


def test_of_a_header_that_comes_twice_the_first_counts():
    pairs = [(b"x-sentinel-tier", b"simple"), (b"x-sentinel-tier", b"nonsense")]
    assert read_headers(pairs).tier == "simple"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Sentinel-Tier", b"huge"),
        ("X-Sentinel-Tier", b""),
        ("X-Sentinel-Tier", b"\xff"),
        ("X-Sentinel-Conversation", b""),
        ("X-Sentinel-Conversation", b"x" * 257),
        ("X-Sentinel-Conversation", b"a\x07b"),
        ("X-Sentinel-Conversation", b"gr\xfc\xdf"),
        ("X-Sentinel-Deadline-Ms", b""),
        ("X-Sentinel-Deadline-Ms", b"0"),
        ("X-Sentinel-Deadline-Ms", b"000"),
        ("X-Sentinel-Deadline-Ms", b"-5"),
        ("X-Sentinel-Deadline-Ms", b"1.5"),
        ("X-Sentinel-Deadline-Ms", b"1e3"),
        ("X-Sentinel-Deadline-Ms", "\u0661".encode()),
        ("X-Sentinel-Deadline-Ms", b"9" * 5000),
        ("X-Arbstr-Policy", b"\xff"),
        ("X-Sentinel-Stream-Failover", b""),
        ("X-Sentinel-Stream-Failover", b"Buffered"),
        ("X-Sentinel-Stream-Failover", b"?"),
        ("Idempotency-Key", b"a\x00b"),
        ("Idempotency-Key", b"\xc3\xbc"),
        ("Idempotency-Key", b"x" * 256),
    ],
)
def test_a_malformed_header_of_ours_is_refused_and_named(name, value):
    with pytest.raises(InvalidRequest) as refusal:
        read_headers([(name.lower().encode(), value)])
    assert refusal.value.status == 400
    assert refusal.value.param == name


@pytest.mark.parametrize("value", [b"a\x00b", b"\xc3\xbc", b"x" * 256, b"  "])
def test_a_request_id_that_cannot_be_kept_is_not_kept(value):
    assert read_headers([(b"x-request-id", value)]).client_request_id is None


def test_an_empty_idempotency_key_is_none():
    assert read_headers([(b"idempotency-key", b"")]).idempotency_key is None


def test_only_the_headers_asked_for_go_on_in_their_order():
    pairs = [
        (b"cookie", b"session=1"),
        (b"accept", b"a"),
        (b"authorization", b"Bearer x"),
        (b"openai-beta", b"b\tc"),
        (b"accept", b"d"),
    ]
    named = read_headers(pairs).named(PASSED_ON)
    assert named == [("accept", "a"), ("openai-beta", "b\tc"), ("accept", "d")]


@pytest.mark.parametrize("value", [b"a\r\nx-evil: 1", b"a\nb", b"a\x00", b"\xc3\xbc", b"\x7f"])
def test_a_header_that_could_break_out_of_its_line_is_refused(value):
    seen = read_headers([(b"accept", value)])
    with pytest.raises(InvalidRequest) as refusal:
        seen.named(PASSED_ON)
    assert refusal.value.param == "accept"


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"identity, gzip", b"deflate", b"nonsense"])
def test_a_packed_body_is_refused(encoding):
    with pytest.raises(UnsupportedEncoding) as refusal:
        check_encoding([(b"content-encoding", b"identity"), (b"content-encoding", encoding)])
    assert (refusal.value.status, refusal.value.code) == (415, "unsupported_encoding")
    assert refusal.value.param == "Content-Encoding"


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [(b"content-encoding", b" Identity ")],
        [(b"content-encoding", b"")],
        [(b"accept", b"gzip")],
    ],
)
def test_a_plain_body_is_accepted(pairs):
    assert check_encoding(pairs) is None


def test_the_authorization_is_kept_as_it_came_and_never_shown():
    seen = read_headers([(b"authorization", b"Bearer \xff secret"), (b"authorization", b"two")])
    assert seen.authorization == b"Bearer \xff secret"
    assert read_headers([]).authorization is None
    assert "secret" not in repr(seen)
