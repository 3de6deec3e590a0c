"""The questions of `tests/admission/`, as an API server sends them, and what is in an answer."""

import base64
import copy
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "admission"


def question(name: str, /, **request: Any) -> dict[str, Any]:
    """The document of that name; `request` replaces fields of its request."""
    document = json.loads((FOLDER / f"{name}.json").read_text())
    document["request"] |= copy.deepcopy(request)
    return document


def response_of(body: bytes | str) -> dict[str, Any]:
    """The response of an answer, after checking the envelope that an API server insists on."""
    document = json.loads(body)
    assert document.keys() == {"apiVersion", "kind", "response"}
    assert document["apiVersion"] == "admission.k8s.io/v1"
    assert document["kind"] == "AdmissionReview"
    response = document["response"]
    assert isinstance(response["allowed"], bool)
    assert ("patch" in response) == ("patchType" in response)
    return response


def patch_of(response: dict[str, Any]) -> list[dict[str, Any]]:
    assert response["patchType"] == "JSONPatch"
    return json.loads(base64.b64decode(response["patch"], validate=True))


def status_of(body: bytes | str) -> dict[str, Any]:
    """A Status, as Kubernetes' own clients read it."""
    status = json.loads(body)
    assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure")
    return status
