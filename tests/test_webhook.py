"""The webhook app: which path means what, and that whatever goes wrong, an API server gets JSON:
the answer that the settings say, with its uid, or a Status."""

import asyncio
import gzip
import json
import logging

import httpx
import jsonpatch
import pytest
from admission_reviews import patch_of, question, response_of, status_of

from tiergate_sidecar.injection import Injection, Injector
from tiergate_sidecar.webhook import BY_NAMESPACE, BY_POD, Rules, webhook_app
from tiergate_sidecar.webhook_metrics import WebhookMetrics

SETTINGS = Injector(image="tiergate:0.1.0")
JSON = {"content-type": "application/json"}
WORKS = '[providers.openai]\n[proxy]\nprovider = "openai"\n[routing]\nunknown_model = "pass"\n'
BREAKS = "[providers.openai]\n"


class Counted(WebhookMetrics):
    """Keeps what is counted, in its order."""

    def __init__(self):
        super().__init__(lambda: None)
        self.answers, self.errors = [], []

    def answered(self, result, reason, seconds):
        super().answered(result, reason, seconds)
        self.answers.append((result, reason, seconds))

    def erred(self, error):
        super().erred(error)
        self.errors.append(error)


class Webhook:
    """The app on a clock of the test's loop; `post` sends a document, or bytes as they are."""

    def __init__(self, rules=None, **about):
        self.metrics = Counted()
        self.app = webhook_app(
            SETTINGS,
            rules or Rules(),
            metrics=self.metrics,
            clock=asyncio.get_running_loop().time,
            **about,
        )

    async def ask(self, method, path, content=None, headers=JSON):
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="https://webhook") as client:
            return await client.request(method, path, content=content, headers=headers)

    async def post(self, document, path=BY_NAMESPACE, headers=JSON):
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        return await self.ask("POST", path, content, headers)


def broken(*_, **__):
    raise RuntimeError("no idea")


def refusing(*_, **__):
    return Injection("port_clash", "port 4190 is taken", refused=True)


@pytest.mark.parametrize(
    ("name", "path", "reason"),
    [
        ("replica", BY_NAMESPACE, "injected"),
        ("replica", BY_POD, "not_asked"),
        ("dry_run", BY_NAMESPACE, "injected"),
        ("dry_run", BY_POD, "injected"),
        ("service", BY_NAMESPACE, "unsupported_kind"),
    ],
)
async def test_the_path_says_what_the_api_server_has_selected_by(name, path, reason):
    webhook, asked = Webhook(), question(name)
    answer = await webhook.post(asked, path)
    response = response_of(answer.content)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert (response["uid"], response["allowed"]) == (asked["request"]["uid"], True)
    assert response["auditAnnotations"]["reason"] == reason
    assert ("patch" in response) == (reason == "injected")
    ((result, counted, _),) = webhook.metrics.answers
    assert (result, counted) == ("injected" if reason == "injected" else "skipped", reason)


async def test_a_second_round_after_another_webhook_completes_the_first():
    webhook, asked = Webhook(), question("replica")
    pod = asked["request"]["object"]
    first = response_of((await webhook.post(asked)).content)
    pod = jsonpatch.apply_patch(pod, patch_of(first))
    again = response_of((await webhook.post(question("replica", uid="2", object=pod))).content)
    assert (again["uid"], "patch" in again) == ("2", False)
    assert again["auditAnnotations"]["reason"] == "already_injected"
    pod["spec"]["containers"].append({"name": "late", "image": "late"})
    third = response_of((await webhook.post(question("replica", uid="3", object=pod))).content)
    late = jsonpatch.apply_patch(pod, patch_of(third))["spec"]["containers"][-1]
    assert {"name": "OPENAI_BASE_URL", "value": "http://127.0.0.1:4190/v1"} in late["env"]


async def test_gzip_is_taken_and_what_is_answered_is_plain():
    webhook, body = Webhook(), json.dumps(question("replica")).encode()
    sent = JSON | {"content-encoding": "gzip", "accept-encoding": "gzip"}
    answer = await webhook.post(gzip.compress(body), headers=sent)
    assert "content-encoding" not in answer.headers
    assert patch_of(response_of(answer.content))


@pytest.mark.parametrize(("rule", "allowed"), [("deny", False), ("warn", True)])
async def test_what_cannot_be_had_is_denied_or_warned_about_as_set(rule, allowed):
    webhook = Webhook(Rules(on_refused=rule), inject=refusing)
    response = response_of((await webhook.post(question("replica"))).content)
    assert response["allowed"] is allowed
    said = response["warnings"][0] if allowed else response["status"]["message"]
    assert said == "tiergate: port 4190 is taken (port_clash)"
    ((result, reason, _),) = webhook.metrics.answers
    assert (result, reason) == ("skipped" if allowed else "refused", "port_clash")


@pytest.mark.parametrize(("rule", "allowed"), [("deny", False), ("allow", True)])
async def test_an_exception_is_an_answer_too(rule, allowed, caplog):
    webhook = Webhook(Rules(on_error=rule), inject=broken)
    answer = await webhook.post(question("replica"))
    response = response_of(answer.content)
    assert (answer.status_code, response["allowed"]) == (200, allowed)
    assert response["uid"] == question("replica")["request"]["uid"]
    assert "no idea" not in answer.text
    assert "no idea" in caplog.text
    assert webhook.metrics.errors == ["exception"]
    assert webhook.metrics.answers[0][:2] == ("error", "exception")


async def test_an_exception_before_the_uid_is_known_is_a_status(caplog):
    async def receive():
        raise RuntimeError("no idea")

    sent, webhook = [], Webhook()
    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": BY_POD, "headers": headers}

    async def send(message):
        sent.append(message)

    await webhook.app(scope, receive, send)
    assert sent[0]["status"] == 500
    assert "no idea" not in status_of(sent[1]["body"])["message"]
    assert "no idea" in caplog.text
    assert webhook.metrics.answers[0][:2] == ("malformed", "exception")


@pytest.mark.parametrize(("rule", "allowed"), [("deny", False), ("allow", True)])
async def test_an_answer_comes_in_time_whatever_it_waits_for(rule, allowed):
    async def stuck(*_):
        await asyncio.Event().wait()

    webhook = Webhook(Rules(on_error=rule, seconds=4), read_config=stuck)
    response = response_of((await webhook.post(question("replica"))).content)
    assert (response["allowed"], response["auditAnnotations"]) == (allowed, {"reason": "timeout"})
    assert webhook.metrics.errors == ["timeout"]
    assert webhook.metrics.answers == [("error", "timeout", pytest.approx(4))]


async def test_a_body_that_does_not_come_in_time_ends_its_connection():
    async def half():
        yield b"{"
        await asyncio.Event().wait()

    webhook = Webhook(Rules(seconds=4))
    answer = await webhook.ask("POST", BY_POD, half())
    assert (answer.status_code, answer.headers["connection"]) == (408, "close")
    assert "too slowly" in status_of(answer.content)["message"]
    assert webhook.metrics.answers == [("malformed", "timeout", pytest.approx(4))]
    assert webhook.metrics.errors == []


@pytest.mark.parametrize(
    ("content", "headers", "status", "reason"),
    [
        (b"", JSON, 400, "malformed"),
        (b"{}", JSON, 400, "malformed"),
        (b"<html>", JSON, 400, "malformed"),
        (b"{}", {"content-type": "text/html"}, 415, "content_type"),
        (b"{}", JSON | {"content-encoding": "gzip"}, 400, "malformed"),
        (b" " * 100_001, JSON, 413, "too_large"),
    ],
)
async def test_what_is_no_question_is_refused_cleanly(content, headers, status, reason):
    webhook = Webhook(Rules(largest_body=100_000))
    answer = await webhook.post(content, headers=headers)
    assert answer.status_code == status_of(answer.content)["code"] == status
    assert webhook.metrics.answers[0][:2] == ("malformed", reason)
    assert webhook.metrics.errors == []
    assert patch_of(response_of((await webhook.post(question("replica"))).content))


async def test_a_client_that_leaves_is_counted_and_nothing_else():
    async def receive():
        return {"type": "http.disconnect"}

    sent, webhook = [], Webhook()
    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": BY_POD, "headers": headers}

    async def send(message):
        sent.append(message)

    await webhook.app(scope, receive, send)
    assert webhook.metrics.answers[0][:2] == ("malformed", "client_left")
    assert (sent[0]["status"], webhook.metrics.errors) == (400, [])


async def test_other_paths_and_methods_are_statuses_too():
    webhook = Webhook()
    nowhere = await webhook.ask("POST", "/mutate")
    assert (nowhere.status_code, BY_POD in status_of(nowhere.content)["message"]) == (404, True)
    assert (await webhook.ask("POST", f"{BY_POD}/")).status_code == 404  # nobody follows a 307
    wrong = await webhook.ask("GET", BY_POD)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert status_of(wrong.content)["code"] == 405


def reader(texts, asked):
    async def read(namespace, name):
        asked.append((namespace, name))
        text = texts[name]
        if isinstance(text, Exception):
            raise text
        return text

    return read


def annotated(name, **annotations):
    document = question("replica")
    said = {f"tiergate.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    document["request"]["object"]["metadata"]["annotations"] = said
    document["request"]["uid"] = name
    return document


@pytest.mark.parametrize(
    ("text", "reason", "allowed"),
    [
        (WORKS, "injected", True),
        (BREAKS, "config_breaks_app", False),
        (None, "config_missing", False),
        (LookupError("403"), "injected", True),
    ],
)
async def test_the_pods_own_configuration_is_read_before_it_is_injected(
    text, reason, allowed, caplog
):
    asked = []
    webhook = Webhook(read_config=reader({"mine": text}, asked))
    response = response_of((await webhook.post(annotated("u", config="mine"))).content)
    assert (response["auditAnnotations"]["reason"], response["allowed"]) == (reason, allowed)
    assert asked == [("shop", "mine")]  # of the request: the pod has no namespace yet
    unknown = isinstance(text, LookupError)
    assert webhook.metrics.errors == (["config_read"] if unknown else [])
    assert ("ConfigMap mine: 403" in caplog.text) == unknown


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (question("replica"), BY_POD),
        (question("service"), BY_NAMESPACE),
        (annotated("u", config_check="off"), BY_NAMESPACE),
    ],
)
async def test_nobody_is_asked_for_a_configuration_that_does_not_matter(document, path):
    asked = []
    webhook = Webhook(read_config=reader({}, asked))
    assert response_of((await webhook.post(document, path)).content)["allowed"]
    assert asked == []


async def test_without_a_reader_no_configuration_is_looked_at():
    response = response_of((await Webhook().post(annotated("u", config="mine"))).content)
    assert patch_of(response)


async def test_the_log_names_the_pod_what_became_of_it_and_never_the_patch(caplog):
    webhook = Webhook()
    with caplog.at_level(logging.DEBUG, "tiergate"):
        await webhook.post(question("replica"))
        await webhook.post(question("dry_run"))
        await webhook.post(question("replica"), BY_POD)
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("INFO", "shop/chat-7d9c5b8f6d-*: injected, injected"),
        ("INFO", "play/try: injected, injected (dry run)"),
        ("DEBUG", "shop/chat-7d9c5b8f6d-*: skipped, not_asked"),
    ]
