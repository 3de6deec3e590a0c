"""An app that asks whatever model it is told to, and has never heard of a sidecar.

    python example_app.py once MODEL     asks once, prints the answer, exits 0
    python example_app.py serve PORT     POST {"model": …, "prompts": […]}: a line for each prompt

It finds its provider as any app does: by the variables that the official client reads. On SIGTERM
it takes no new requests, ends those that run, and exits 0.
"""

import json
import signal
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from openai import OpenAI


def answered(model: str, prompt: str) -> Iterator[str]:
    """The pieces of a streamed answer, as they come; a call that fails ends in `lost: …`."""
    said: list[Any] = [{"role": "user", "content": prompt}]
    ended = None
    try:
        # A client for each call: none finds a connection that an earlier one has left open. And
        # no retries, which would hide that one was lost.
        with OpenAI(max_retries=0) as client:
            chat = client.chat.completions
            with chat.create(model=model, messages=said, stream=True) as stream:
                for chunk in stream:
                    ended = chunk.choices[0].finish_reason
                    yield chunk.choices[0].delta.content or ""
    except Exception as error:  # noqa: BLE001  # whatever it was, the call is lost
        yield f" lost: {type(error).__name__}"
    else:
        if ended != "stop":
            yield " lost: no end"


class Handler(BaseHTTPRequestHandler):
    """GET says that it is up; POST asks for one prompt after the other."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        for prompt in asked["prompts"]:
            for piece in answered(asked["model"], prompt):
                self.wfile.write(piece.encode())
            self.wfile.write(b"\n")


def serve(port: int) -> None:
    signal.pthread_sigmask(
        signal.SIG_BLOCK, {signal.SIGTERM}
    )  # for the threads too: we wait for it
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = False  # closing waits for those that answer
    Thread(target=server.serve_forever, args=(0.05,)).start()
    signal.sigwait({signal.SIGTERM})
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    task, argument = sys.argv[1:]
    if task == "serve":
        serve(int(argument))
    else:
        print("".join(answered(argument, "hello")))  # noqa: T201  # what the test reads
