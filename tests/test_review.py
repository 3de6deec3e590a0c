"""AdmissionReview, bytes to bytes: what is a question, and that each answer is one that an API
server takes: uid, envelope, base64, limits of warnings, names of audit annotations."""

import json
import re

import pytest
from admission_reviews import patch_of, question, response_of

from tiergate_sidecar.injection_result import Injection
from tiergate_sidecar.review import (
    LONGEST_WARNING,
    LONGEST_WARNINGS,
    MalformedReview,
    answered,
    failed,
    read_review,
    unsupported,
)

PATCH = ({"op": "add", "path": "/spec/initContainers", "value": [{"name": "é"}]},)
DONE = Injection("injected", "in", PATCH, audit={"reason": "injected", "hash": "12ab"})
REFUSED = Injection("port_clash", "port 4190 is taken", warnings=("move it",), refused=True)


def review(document="replica", /, **request):
    return read_review(json.dumps(question(document, **request)).encode())


def test_a_controllers_pod_has_its_namespace_from_the_request_and_half_a_name():
    asked = review()
    assert asked.pod["metadata"]["namespace"] == ""
    assert (asked.namespace, asked.name, asked.subject) == (
        *("shop", "chat-7d9c5b8f6d-*"),
        "shop/chat-7d9c5b8f6d-*",
    )
    assert asked.uid == "705ab4f5-6393-11e8-b7cc-42010a800002"
    assert not asked.dry_run


def test_a_pod_of_somebodys_own_has_a_name_and_may_be_a_dry_run():
    asked = review("dry_run")
    assert (asked.subject, asked.dry_run) == ("play/try", True)
    assert review("dry_run", name="").subject == "play/try"
    assert review(dryRun=None).dry_run is False


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("service", {}),
        ("replica", {"operation": "UPDATE"}),
        ("replica", {"operation": "DELETE", "object": None}),
        ("replica", {"operation": "CONNECT", "subResource": "exec"}),
        ("replica", {"subResource": "ephemeralcontainers"}),
        ("replica", {"kind": {"group": "example.com", "version": "v1", "kind": "Pod"}}),
    ],
)
def test_what_is_not_the_creation_of_a_pod_is_let_through_untouched(name, request_):
    asked = review(name, **request_)
    assert asked.pod is None
    answer = answered(asked, unsupported(), "deny")
    assert (answer.result, answer.reason) == ("skipped", "unsupported_kind")
    assert response_of(answer.body) == {
        "uid": asked.uid,
        "allowed": True,
        "auditAnnotations": {"reason": "unsupported_kind"},
    }


def test_a_patch_goes_back_with_the_uid_as_base64():
    answer = answered(review(uid="another"), DONE, "deny")
    response = response_of(answer.body)
    assert (answer.result, answer.reason) == ("injected", "injected")
    assert response.pop("patch")
    assert response == {
        "uid": "another",
        "allowed": True,
        "patchType": "JSONPatch",
        "auditAnnotations": {"reason": "injected", "hash": "12ab"},
    }
    assert patch_of(response_of(answer.body)) == list(PATCH)


def test_what_cannot_be_had_is_refused_naming_the_reason():
    answer = answered(review(), REFUSED, "deny")
    response = response_of(answer.body)
    assert (answer.result, answer.reason) == ("refused", "port_clash")
    assert response["allowed"] is False
    assert response["status"] == {
        "code": 403,
        "reason": "Forbidden",
        "message": "tiergate: port 4190 is taken (port_clash)",
    }
    assert response["warnings"] == ["move it"]


def test_or_let_through_with_a_warning_that_names_it():
    answer = answered(review(), REFUSED, "warn")
    response = response_of(answer.body)
    assert (answer.result, answer.reason) == ("skipped", "port_clash")
    assert response["allowed"] is True
    assert response["warnings"] == ["tiergate: port 4190 is taken (port_clash)", "move it"]


def test_a_pod_that_could_not_be_looked_at_is_let_through_or_not_as_the_setting_says():
    denied = response_of(failed(review(), "timeout", "It took too long.", "deny").body)
    assert (denied["uid"], denied["allowed"]) == (review().uid, False)
    assert denied["status"] == {
        "code": 500,
        "reason": "InternalError",
        "message": "tiergate: It took too long. (timeout)",
    }
    allowed = response_of(failed(review(), "timeout", "It took too long.", "allow").body)
    assert (allowed["uid"], allowed["allowed"], "status" in allowed) == (review().uid, True, False)
    assert allowed["warnings"] == ["tiergate: It took too long. (timeout); the pod has no sidecar"]
    for response in (denied, allowed):
        assert response["auditAnnotations"] == {"reason": "timeout"}


def test_warnings_are_such_as_an_api_server_hands_on():
    many = ("a\nb\x00c\x85d", "long " * 100, *("x" * 250 for _ in range(20)))
    response = response_of(answered(review(), Injection("disabled", "", (), many), "deny").body)
    one, long, *others = response["warnings"]
    assert one == "a b c d"
    assert (len(long), long[-1]) == (LONGEST_WARNING, "…")
    assert others
    assert sum(map(len, response["warnings"])) <= LONGEST_WARNINGS < len("".join(many))
    told = failed(review(), "exception", "two\nlines", "deny").body
    assert response_of(told)["status"]["message"] == "tiergate: two lines (exception)"


def test_a_name_cannot_forge_a_line_of_the_log():
    pod = question("replica")["request"]["object"]
    pod["metadata"]["generateName"] = "a\nERROR b"
    assert review(object=pod, namespace="s\rh").subject == "s h/a ERROR b*"


def test_a_name_that_nobody_has_measured_yet_is_no_long_line():
    pod = question("replica")["request"]["object"]
    for name in ("x" * 100_000, ["x"], None):
        pod["metadata"] |= {"name": name, "generateName": name}
        asked = review(object=pod, namespace="n" * 1000)
        assert len(asked.subject) < 600
    assert (asked.namespace, asked.name) == ("n" * 1000, "*")


def test_a_reason_is_still_named_where_its_sentence_is_cut():
    long = Injection("invalid_annotation", "tiergate.io/image is wrong; " * 50, refused=True)
    (warning,) = response_of(answered(review(), long, "warn").body)["warnings"]
    assert (len(warning), warning[-22:]) == (LONGEST_WARNING, "… (invalid_annotation)")
    refused = response_of(answered(review(), long, "deny").body)
    assert long.message in refused["status"]["message"]


@pytest.mark.parametrize("name", ["replica", "dry_run"])
def test_the_names_of_audit_annotations_stand_after_the_webhooks_own(name):
    for injection in (DONE, REFUSED, unsupported()):
        for key in response_of(answered(review(name), injection, "deny").body)["auditAnnotations"]:
            assert re.fullmatch(r"[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?", key)


def changed(**document):
    return json.dumps(question("replica") | document).encode()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "truncated"),
        (b"null", "got `null`"),
        (b"[]", "got `array`"),
        (b"{}", "missing required field"),
        (b'{"apiVersion": 1}', r"\$\.apiVersion"),
        (b"[" * 100_000, "got `array`"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"\xff\xfe", "malformed"),
        (changed(apiVersion="admission.k8s.io/v1beta1"), "admission.k8s.io/v1$"),
        (changed(kind="Pod"), "not an AdmissionReview"),
        (changed(request=None), r"\$\.request"),
        (changed(request={"uid": "u", "kind": {}, "operation": "CREATE"}), r"\$\.request\.kind"),
        (json.dumps(question("replica", uid="")).encode(), "uid is empty"),
        (json.dumps(question("replica", uid=7)).encode(), r"\$\.request\.uid"),
        (json.dumps(question("replica", object=None)).encode(), "got `null`"),
        (json.dumps(question("replica", object=[])).encode(), "got `array`"),
        (json.dumps(question("replica", object={"metadata": {}})).encode(), "object.spec"),
        (
            json.dumps(question("replica", object={"metadata": 1, "spec": {}})).encode(),
            "object.metadata",
        ),
        (changed().replace(b'"chat"', b'"\xff"'), "utf-8"),
    ],
)
def test_what_is_no_question_is_malformed_and_says_where(body, said):
    with pytest.raises(MalformedReview, match=said):
        read_review(body)
