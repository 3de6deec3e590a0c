"""How long `tiergate replay` takes for 100,000 requests of a SQLite log, and how much memory.

The log is made here: conversations, classified requests with their signals, policies, failures. It
is tried under its own configuration, where the cost must come out the same, and under another.
"""

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from table import Row, at_most, told

from tiergate import Record, read_log_url, trial_config
from tiergate.candidates import Reach
from tiergate.completion import Usage
from tiergate.estimate import Estimate
from tiergate.exchange import Caller
from tiergate.log_sql import SqlStore
from tiergate.profile import Profile
from tiergate.sessions import owner_digest
from tiergate.signals import PLAIN
from tiergate.snapshot import compile_snapshot
from tiergate.sources import InlineSource
from tiergate.tiers import TIERS

REQUESTS = 100_000
MOST_SECONDS = 30.0
BATCH = 256
EPOCH_US = 1_700_000_000_000_000

CONFIG = """
[routing]
default_tier = "simple"
[classifier]
measure = "all"
[providers.p1]
base_url = "http://h.test"
[providers.p2]
base_url = "${NOT_SET}"
""" + "".join(
    f"""
[[tiers.{tier}]]
provider = "{provider}"
model = "{tier}-{provider}"
relative_cost = {cost}
input_price_per_million = {cost * 0.5}
output_price_per_million = {cost * 2.0}
context_window = 200000
"""
    for tier in TIERS
    for cost, provider in enumerate(("p1", "p2"), 1)
)
OTHER = CONFIG.replace('default_tier = "simple"', 'default_tier = "auto"').replace("200000", "9000")


def records(count: int, reaches: dict[str, Reach]) -> list[Record]:
    chance = random.Random(1)
    owners = [owner_digest(Caller(f"caller {number}"), None) for number in range(50)]
    made = []
    for number in range(count):
        asked = chance.choice([*TIERS, None])
        tier = asked or "simple"
        candidate = chance.choice(list(reaches[tier].candidates()))
        usage = Usage(chance.randrange(20, 12_000), chance.randrange(1, 900), 0)
        failed = chance.random() < 0.02
        signals = {name: chance.random() for name in chance.sample(sorted(PLAIN), 6)}
        made.append(
            Record(
                id=f"request-{number:07}",
                client_id=None,
                at=EPOCH_US + number * 500_000,
                conversation=f"c{chance.randrange(count // 5)}" if number % 2 else None,
                owner=chance.choice(owners),
                requested_tier=tier,
                requested_reason="explicit" if asked else "default",
                tier=tier,
                reason="explicit" if asked else "default",
                score=None,
                requested_model=None,
                provider=candidate.provider,
                model=candidate.model,
                streaming=False,
                attempts=(),
                status=502 if failed else 200,
                outcome="upstream_error" if failed else "ok",
                error_code="provider_error" if failed else None,
                input_tokens=None if failed else usage.prompt_tokens,
                cached_tokens=None if failed else 0,
                output_tokens=None if failed else usage.completion_tokens,
                partial=False,
                cost=None if failed else candidate.cost(usage),
                latency_us=900_000,
                first_token_us=None,
                overhead_us=200,
                trace_id=None,
                caller_tier=None,
                caller_max_tier=None,
                policy=None,
                policy_binds=None,
                reach=reaches[tier].digest,
                profile=Profile(Estimate(usage.prompt_tokens or 0, 256, True), (), signals),
                pool=(),
            )
        )
    return made


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, f"{name}.toml") for name in ("same", "other")}
        files["same"].write_text(CONFIG)
        files["other"].write_text(OTHER)
        config = trial_config(files["same"], environ={})
        reaches = compile_snapshot(InlineSource(config).document, config).reaches
        url = f"sqlite:///{folder}/log.db"
        store = SqlStore(read_log_url(url))
        made = records(count, dict(reaches))
        for first in range(0, count, BATCH):
            store.write(made[first : first + BATCH])
        store.close()
        rows: list[Row] = []
        for name, file in files.items():
            command = [sys.executable, "-m", "tiergate_sidecar", "replay", "--json"]
            begun = time.perf_counter()
            said = subprocess.run(
                [*command, "--log", url, "--config", str(file)], check=True, capture_output=True
            )
            seconds = time.perf_counter() - begun
            result = json.loads(said.stdout)
            assert result["requests"] == count, result["requests"]
            off = abs(result["cost"]["after"] - result["cost"]["before"])
            what = f"{count} requests under {'their own' if name == 'same' else 'another'} setting"
            rows.append(at_most(what, MOST_SECONDS, seconds, "s"))
            if name == "same":
                rows.append(at_most("cost after less cost before", 1e-6, off, "$"))
            else:
                rows.append(told("cost before", result["cost"]["before"], "$"))
                rows.append(told("cost after", result["cost"]["after"], "$"))
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    rows.append(told("most memory of the command", memory, "MiB"))
    for row in rows:
        print(f"{row.what:48} {row.must:12} {row.measured:>12}")
    if not all(row.met in (True, None) for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
