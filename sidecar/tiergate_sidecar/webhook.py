"""The admission webhook as an ASGI app: how a question arrives, its limits, and what may go wrong.

Two paths say what the API server has selected by, so that no API call is needed to know it. What
the answer is comes from `injection`, its bytes from `review`; sockets and TLS are `webhook_server`.
Whatever happens here, an answer is JSON: an AdmissionReview, or before there is a question a Status
of Kubernetes, whose message the API server hands on to people.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tiergate_sidecar.injection import Injection, Injector, inject
from tiergate_sidecar.labels import INJECT
from tiergate_sidecar.review import (
    Answer,
    MalformedReview,
    OnError,
    OnRefused,
    Review,
    answered,
    failed,
    read_review,
    unsupported,
)
from tiergate_sidecar.webhook_body import LARGEST_BODY, BadRequest, Bodies
from tiergate_sidecar.webhook_body import answered as bad_request
from tiergate_sidecar.webhook_metrics import WebhookMetrics

_log = logging.getLogger("tiergate")

BY_NAMESPACE: Final = "/inject/namespace"
BY_POD: Final = "/inject/pod"

NAMESPACE_LABELS: Final[Mapping[str, Mapping[str, str]]] = {
    BY_NAMESPACE: {INJECT: "enabled"},
    BY_POD: {},
}
"""What a path says of the namespace's labels: its selector has looked at them already."""

SECONDS: Final = 4.0
"""Below the 5 s of the shipped webhook configuration: our answer says more than its timeout."""

ReadConfigMap = Callable[[str, str], Awaitable[str | None]]
"""`kube.ConfigMaps.read`: namespace, name."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a webhook does where there is a choice."""

    on_error: OnError = "deny"
    on_refused: OnRefused = "deny"
    largest_body: int = LARGEST_BODY
    seconds: float = SECONDS


def webhook_app(
    settings: Injector,
    rules: Rules,
    *,
    metrics: WebhookMetrics,
    clock: Callable[[], float],
    read_config: ReadConfigMap | None = None,
    inject: Callable[..., Injection] = inject,
) -> Starlette:
    """The app; `clock` is monotonic, in seconds. Without `read_config` no configuration is checked.

    `inject` is the function of that name in `injection`, or what a test puts in its place.
    """
    webhook = _Webhook(settings, rules, metrics, clock, read_config, inject)
    app = Starlette(
        routes=[
            Route(path, partial(webhook.answer, labels), methods=["POST"])
            for path, labels in NAMESPACE_LABELS.items()
        ],
        exception_handlers={404: _not_found, 405: _wrong_method},
    )
    app.router.redirect_slashes = False  # an API server follows none, and tells people of a 307
    return app


class _Webhook:
    def __init__(
        self,
        settings: Injector,
        rules: Rules,
        metrics: WebhookMetrics,
        clock: Callable[[], float],
        read_config: ReadConfigMap | None,
        inject: Callable[..., Injection],
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._metrics = metrics
        self._clock = clock
        self._read_config = read_config
        self._inject = inject
        self._bodies = Bodies(rules.largest_body)

    async def answer(self, labels: Mapping[str, str], request: Request) -> Response:
        began = self._clock()
        try:
            answer = await self._answer(labels, request)
        except BadRequest as error:
            self._count("malformed", error.reason, began)
            return bad_request(error)
        except ClientDisconnect:
            self._count("malformed", "client_left", began)
            return Response(status_code=400)  # to nobody
        self._count(answer.result, answer.reason, began)
        return Response(answer.body, media_type="application/json")

    def _count(self, result: str, reason: str, began: float) -> None:
        self._metrics.answered(result, reason, self._clock() - began)

    async def _answer(self, labels: Mapping[str, str], request: Request) -> Answer:
        review: Review | None = None
        try:
            async with asyncio.timeout(self._rules.seconds), self._bodies.of(request) as body:
                review = read_review(body)
                injection = await self._injection(review, labels)
                answer = answered(review, injection, self._rules.on_refused)
        except MalformedReview as error:
            raise BadRequest(400, "malformed", f"No AdmissionReview: {error}") from None
        except (BadRequest, ClientDisconnect):
            raise
        except TimeoutError:
            if review is None:
                raise BadRequest(408, "timeout", "It came too slowly.", close=True) from None
            self._metrics.erred("timeout")
            _log.error("%s: no answer in time", review.subject)
            return failed(review, "timeout", "It took too long.", self._rules.on_error)
        except Exception:  # noqa: BLE001  # whatever it is, the API server hears of it as JSON
            self._metrics.erred("exception")
            if review is None:
                _log.exception("a request could not be read")
                raise BadRequest(500, "exception", "An error of the webhook's own.") from None
            _log.exception("%s: no answer", review.subject)
            return failed(
                review, "exception", "An error of the webhook's own.", self._rules.on_error
            )
        level = logging.DEBUG if answer.result == "skipped" else logging.INFO
        dry = " (dry run)" if review.dry_run else ""
        _log.log(level, "%s: %s, %s%s", review.subject, answer.result, answer.reason, dry)
        return answer

    async def _injection(self, review: Review, labels: Mapping[str, str]) -> Injection:
        if review.pod is None:
            return unsupported()
        inject = partial(self._inject, review.pod, namespace_labels=labels, settings=self._settings)
        if self._read_config is None:
            return inject()
        asked: list[str] = []
        injection = inject(read_config=partial(_noting, asked))
        if not asked:
            return injection
        known = {name: await self._known(review, name) for name in asked}
        return inject(read_config=partial(_answering, known))

    async def _known(self, review: Review, name: str) -> str | LookupError | None:
        assert self._read_config is not None
        try:
            return await self._read_config(review.namespace, name)
        except LookupError as error:
            self._metrics.erred("config_read")
            _log.warning("%s: ConfigMap %s: %s", review.subject, name, error.args[0])
            return error


def _noting(asked: list[str], name: str) -> str | None:
    """A `ReadConfig` that only learns what will be asked: an injection waits for nobody."""
    asked.append(name)
    raise LookupError(name)


def _answering(known: Mapping[str, str | LookupError | None], name: str) -> str | None:
    text = known[name]
    if isinstance(text, LookupError):
        raise text
    return text


async def _not_found(_: Request, __: Exception) -> Response:
    paths = " and ".join(NAMESPACE_LABELS)
    return bad_request(BadRequest(404, "not_found", f"There are only {paths} here."))


async def _wrong_method(_: Request, error: Exception) -> Response:
    response = bad_request(BadRequest(405, "method_not_allowed", "Send a POST."))
    response.headers.update(getattr(error, "headers", None) or {})
    return response
