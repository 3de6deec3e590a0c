"""An API server's question about one object, and the answer: AdmissionReview v1, bytes to bytes.

Pure: no socket, no clock. What becomes of the pod is `injection`'s; how a question arrives, and
what happens when it takes too long, is `webhook`'s. Field by field as kube-apiserver 1.36 sends and
takes them (reference/platform.md section 1.4).
"""

import base64
import re
from typing import Any, Final, Literal

import msgspec
from msgspec import Raw, Struct

from tiergate_sidecar.injection_result import Injection
from tiergate_sidecar.pod_grammar import LONGEST_NAME

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"

OnError = Literal["deny", "allow"]
"""What becomes of a pod when we could not think about it: no pod, or a pod without its sidecar."""
OnRefused = Literal["deny", "warn"]
"""What becomes of a pod that asked for a sidecar it cannot have."""

LONGEST_WARNING: Final = 256
"""Characters. Where all warnings of a request exceed the sum below, the API server cuts each to
these (its endpoints/filters/warning.go); it is better cut where we can mark it."""
LONGEST_WARNINGS: Final = 4096
"""Characters of all warnings of a request together; the API server leaves out what is beyond."""

UNSUPPORTED: Final = "unsupported_kind"

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class MalformedReview(Exception):
    """The bytes are no question that an API server asks; the text says what is wrong."""


class Review(Struct, frozen=True):
    """One question."""

    uid: str
    """Echoed in the answer; a re-invocation has a new one."""
    namespace: str
    """Of the request: that of the pod itself may be empty."""
    name: str
    """For people; a controller's pods have only the beginning of theirs, and then `*`."""
    dry_run: bool
    """Nothing of it will exist. We do nothing but answer, so the answer is the same."""
    pod: dict[str, Any] | None
    """None: it is not the creation of a pod, and is none of our business."""

    @property
    def subject(self) -> str:
        """The pod's name for a log line; nobody has measured it yet."""
        return f"{self.namespace[:LONGEST_NAME]}/{self.name[:LONGEST_NAME]}"


class Answer(Struct, frozen=True):
    """What goes back, and what is counted."""

    body: bytes
    result: Literal["injected", "skipped", "refused", "error"]
    reason: str


class _Kind(Struct, frozen=True):
    kind: str
    group: str = ""


class _Request(Struct, frozen=True, rename="camel"):
    uid: str
    kind: _Kind
    operation: str
    name: str = ""
    namespace: str = ""
    sub_resource: str = ""
    dry_run: bool | None = None
    object: Raw = Raw(b"null")


class _Document(Struct, frozen=True, rename="camel"):
    api_version: str
    kind: str
    request: _Request


def read_review(body: bytes) -> Review:
    """The question; raises `MalformedReview`."""
    document = _decoded(body, _Document)
    if (document.api_version, document.kind) != (API_VERSION, KIND):
        raise MalformedReview(f"not an {KIND} of {API_VERSION}")
    request = document.request
    if not request.uid:
        raise MalformedReview("request.uid is empty")
    ours = (request.kind.group, request.kind.kind, request.sub_resource, request.operation)
    pod = _pod(request.object) if ours == ("", "Pod", "", "CREATE") else None
    return Review(
        uid=request.uid,
        namespace=_clean(request.namespace),
        name=_named(request.name, pod),
        dry_run=bool(request.dry_run),
        pod=pod,
    )


def unsupported() -> Injection:
    """What becomes of anything but the creation of a pod."""
    return Injection(reason=UNSUPPORTED, message="Only the creation of a pod is looked at.")


def answered(review: Review, injection: Injection, on_refused: OnRefused) -> Answer:
    """The answer for what an injection has come to."""
    reason = injection.reason
    said: dict[str, Any] = {"auditAnnotations": {"reason": reason, **injection.audit}}
    told = f"tiergate: {_clean(injection.message)} ({reason})"
    if injection.refused and on_refused == "deny":
        said |= {
            "allowed": False,
            "status": {"code": 403, "reason": "Forbidden", "message": told},
            "warnings": _fitting(injection.warnings),
        }
        return Answer(_document(review.uid, said), "refused", reason)
    if len(told) > LONGEST_WARNING:  # it is cut, but not its reason's id: the docs explain that
        end = f"… ({reason})"
        told = told[: LONGEST_WARNING - len(end)] + end
    warnings = (told, *injection.warnings) if injection.refused else injection.warnings
    said |= {"allowed": True, "warnings": _fitting(warnings)}
    if injection.patch:
        patch = base64.b64encode(msgspec.json.encode(injection.patch)).decode()
        said |= {"patchType": "JSONPatch", "patch": patch}
    return Answer(_document(review.uid, said), "injected" if injection.patch else "skipped", reason)


def failed(review: Review, reason: str, message: str, on_error: OnError) -> Answer:
    """The answer when we could not think about it: `reason` is an id, `message` a sentence."""
    told = f"tiergate: {_clean(message)} ({reason})"
    said: dict[str, Any] = {"auditAnnotations": {"reason": reason}}
    if on_error == "allow":
        said |= {"allowed": True, "warnings": _fitting([f"{told}; the pod has no sidecar"])}
    else:
        status = {"code": 500, "reason": "InternalError", "message": told}
        said |= {"allowed": False, "status": status}
    return Answer(_document(review.uid, said), "error", reason)


def _decoded(body: bytes | Raw, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedReview(_clean(str(error))) from None
    except RecursionError:
        raise MalformedReview("nested too deeply") from None


def _pod(given: Raw) -> dict[str, Any]:
    pod: dict[str, Any] = _decoded(given, dict[str, Any])
    for part in ("metadata", "spec"):
        if not isinstance(pod.get(part), dict):
            raise MalformedReview(f"request.object.{part} is not an object")
    return pod


def _named(name: str, pod: dict[str, Any] | None) -> str:
    if not name and pod is not None:
        own, begins = (pod["metadata"].get(key) for key in ("name", "generateName"))
        name = (
            own if isinstance(own, str) and own else f"{begins if isinstance(begins, str) else ''}*"
        )
    return _clean(name)


def _document(uid: str, said: dict[str, Any]) -> bytes:
    response = {"uid": uid, **{key: value for key, value in said.items() if value != []}}
    return msgspec.json.encode({"apiVersion": API_VERSION, "kind": KIND, "response": response})


def _clean(text: str) -> str:
    """On one line: the API server drops a warning that holds a control character."""
    return _CONTROL.sub(" ", text)


def _fitting(warnings: Any) -> list[str]:
    """As many as the API server hands on, each so long that it does."""
    kept: list[str] = []
    left = LONGEST_WARNINGS
    for warning in warnings:
        text = _clean(warning)
        if len(text) > LONGEST_WARNING:
            text = f"{text[: LONGEST_WARNING - 1]}…"
        if len(text) > left:
            break
        kept.append(text)
        left -= len(text)
    return kept
