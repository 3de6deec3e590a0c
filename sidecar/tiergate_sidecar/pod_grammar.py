"""The forms of Kubernetes' values, as far as a pod's annotations give us some: names, quantities,
image references.

The API server checks a name or a quantity only after the injection, in words that name no
annotation, and an image reference not at all. Which setting needs which form is `injector`.
"""

import re
from decimal import Decimal
from typing import Final

LONGEST_NAME: Final = 253
"""Characters of a ConfigMap's or a Secret's name, as the API server counts."""

LONGEST_IMAGE: Final = 512
"""Characters; a registry gives up long before."""

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

# As container runtimes read a reference: registry, path, tag, digest.
_HOST: Final = r"(?:[a-zA-Z0-9](?:[-a-zA-Z0-9.]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
_PART: Final = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_TAG: Final = r"[A-Za-z0-9_][-.A-Za-z0-9_]{0,127}"
_IMAGE: Final = re.compile(
    rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::{_TAG})?(?:@sha256:[0-9a-f]{{64}})?"
)

# As the API server reads a quantity, without a sign, and no longer than any node is large.
_QUANTITY: Final = re.compile(
    r"([0-9]{1,18}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(?:([KMGTPE]i|[numkMGTPE])|[eE]([+-]?[0-9]{1,2}))?"
)
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def is_container_name(text: str) -> bool:
    """Whether it may name a container: RFC 1123's label."""
    return _LABEL.fullmatch(text) is not None


def is_object_name(text: str) -> bool:
    """Whether it may name a ConfigMap or a Secret: RFC 1123's subdomain."""
    return len(text) <= LONGEST_NAME and _SUBDOMAIN.fullmatch(text) is not None


def is_image(text: str) -> bool:
    """Whether a container runtime reads it as the reference of an image."""
    return len(text) <= LONGEST_IMAGE and _IMAGE.fullmatch(text) is not None


def amount_of(quantity: str) -> Decimal:
    """A quantity in cores or bytes; raises `ValueError` for what is none."""
    match = _QUANTITY.fullmatch(quantity)
    if match is None:
        raise ValueError("is not a quantity, as 50m or 128Mi are")
    number, unit, exponent = match.groups()
    if unit in _BINARY:
        return Decimal(number) * Decimal(2 ** _BINARY[unit])
    return Decimal(number).scaleb(_DECIMAL[unit] if unit else int(exponent or 0))
