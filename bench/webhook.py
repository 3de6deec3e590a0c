"""A minute of admission reviews at a fixed rate, over real TLS, against a real `tiergate webhook`.

    python bench/webhook.py [SECONDS [RATE]]

60 s at 100 requests a second, over ten kept connections: as many as API servers that have much to
do would keep. Halfway the certificate is replaced. An answer is timed from when its request was
due, whatever held it up. Prints percentiles, errors, and the CPU time of the webhook's process;
exits 1 if a request failed, or if the 99th percentile is above 20 ms.
"""

import asyncio
import json
import math
import os
import re
import ssl
import sys
import tempfile
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

TESTS = Path(__file__).parent.parent / "tests"
sys.path.insert(0, str(TESTS))

from admission_reviews import patch_of, question, response_of  # noqa: E402
from e2e.config_map import ConfigMap  # noqa: E402
from e2e.process import ANY_PORT, running  # noqa: E402

from tiergate_sidecar.make_certs import make_certs  # noqa: E402

CONNECTIONS = 10
BOUND_SECONDS = 0.020
HEAD = (
    "POST /inject/namespace?timeout=5s HTTP/1.1\r\nHost: tiergate-webhook.tiergate.svc\r\n"
    "Content-Type: application/json\r\nAccept-Encoding: gzip\r\nContent-Length: {}\r\n\r\n"
)


async def ask(reader, writer, number):
    """One review; raises whatever is wrong with its answer."""
    uid = f"00000000-0000-0000-0000-{number:012}"
    body = json.dumps(question("replica", uid=uid)).encode()
    writer.write(HEAD.format(len(body)).encode() + body)
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = re.search(r"content-length: (\d+)", head)
    response = response_of(await reader.readexactly(int(length[1])))
    assert head.startswith("HTTP/1.1 200 "), head
    assert response["uid"] == uid
    assert patch_of(response)


async def measure(url, authority, seconds, rate, halfway):
    host, port = url.removeprefix("https://").split(":")
    trust = ssl.create_default_context(cafile=authority)
    took, errors, tasks = [], [], []
    free: asyncio.Queue = asyncio.Queue()
    async with AsyncExitStack() as stack:
        for _ in range(CONNECTIONS):
            reader, writer = await asyncio.open_connection(host, int(port), ssl=trust)
            stack.callback(writer.close)
            free.put_nowait((reader, writer))

        async def one(number, due):
            connection = await free.get()
            try:
                async with asyncio.timeout(5):
                    await ask(*connection, number)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is what we look for
                errors.append(error)
            else:
                took.append(monotonic() - due)
            free.put_nowait(connection)

        begun, count = monotonic(), int(seconds * rate)
        for number in range(count):
            due = begun + number / rate
            await asyncio.sleep(due - monotonic())
            tasks.append(asyncio.create_task(one(number, due)))
            if number == count // 2:
                halfway()
        await asyncio.gather(*tasks)
    return sorted(took), errors


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid):
    return (
        int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
    )


def secret(folder):
    return {name: (folder / name).read_text() for name in ("tls.crt", "tls.key")}


async def main(seconds, rate):
    with tempfile.TemporaryDirectory() as name:
        made = Path(name, "made")
        make_certs(made, ["127.0.0.1"], datetime.now(UTC))
        mounted = ConfigMap(Path(name, "mounted"), **secret(made))
        make_certs(made, ["127.0.0.1"], datetime.now(UTC))
        flags = ("--image", "tiergate:0.1.0", "--listen", ANY_PORT, "--probes", ANY_PORT)
        flags = (*flags, "--certs", str(mounted.folder), "--linger-seconds", "0")
        quiet = ("--log-level", "warning")
        async with running("webhook", *flags, *quiet, cwd=Path(name), lines=2) as here:
            url = re.search(r"https://\S+:\d+", here.said)[0]
            pid = here.process.pid
            await measure(url, made / "ca.crt", 1, rate, lambda: None)  # warm
            before = cpu_seconds(pid)
            took, errors = await measure(
                url, made / "ca.crt", seconds, rate, lambda: mounted.swap(**secret(made))
            )
            cpu = cpu_seconds(pid) - before
            memory = resident_mib(pid)
    count = len(took) + len(errors)
    p50, p99, p999, top = (
        took[max(0, math.ceil(len(took) * share) - 1)] * 1000 for share in (0.5, 0.99, 0.999, 1)
    )
    print(f"{count} reviews in {seconds} s, {len(errors)} errors {errors[:3]}")
    print(f"p50 {p50:.1f}  p99 {p99:.1f}  p99.9 {p999:.1f}  longest {top:.1f} ms")
    print(f"webhook: {1000 * cpu / count:.2f} ms of CPU a review, {memory:.0f} MiB resident")
    return not errors and p99 < BOUND_SECONDS * 1000


if __name__ == "__main__":
    given = [float(each) for each in sys.argv[1:]]
    sys.exit(0 if asyncio.run(main(*given, *(60.0, 100.0)[len(given) :])) else 1)
