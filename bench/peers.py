"""The others' gateways, from `make bench-peers` under `.peers/`, started as they document.

Whatever is not there is told as absent, and why. One worker each. Both do much that we do not, and
the other way round; what is compared is one request that reaches an OpenAI-like upstream.
"""

import secrets
import shutil
from pathlib import Path

from subject import Place, Start, Subject

PEERS = Path(__file__).parent / ".peers"
LITELLM = PEERS / "litellm" / "bin" / "litellm"
PORTKEY = PEERS / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build"

# Its quick start's file with what its page on production says of logging. It does not start
# without a master key; a database is optional, and would only cost it more.
CONFIG = """
model_list:
  - model_name: simple
    litellm_params:
      model: openai/m
      api_base: http://127.0.0.1:{upstream}/v1
      api_key: none
litellm_settings:
  set_verbose: False
"""


def _litellm(place: Place) -> Start:
    (place.folder / "config.yaml").write_text(CONFIG.format(upstream=place.upstream))
    key = f"sk-{secrets.token_hex(32)}"
    return Start(
        (str(LITELLM), "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(place.port)),
        headers={"Authorization": f"Bearer {key}"},
        environ={
            "LITELLM_MASTER_KEY": key,
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # its copy of a file it would download
        },
    )


def _portkey(place: Place) -> Start:
    return Start(
        ("node", str(PORTKEY / "start-server.js"), f"--port={place.port}", "--headless"),
        headers={
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"http://127.0.0.1:{place.upstream}/v1",
            "Authorization": "Bearer none",
        },
        environ={"NODE_ENV": "production"},
    )


LITELLM_PROXY = Subject("LiteLLM", _litellm, share=0.05, warm_up=200, optional=True)
PORTKEY_GATEWAY = Subject("Portkey", _portkey, share=0.25, warm_up=3000, optional=True)


def installed() -> tuple[list[Subject], dict[str, str]]:
    """Those that are there, and why the others are not."""
    why: dict[str, str] = {}
    if not LITELLM.exists():
        why["LiteLLM"] = "not installed, see `make bench-peers`"
    if shutil.which("node") is None:
        why["Portkey"] = "no node on this machine"
    elif not PORTKEY.exists():
        why["Portkey"] = "not installed, see `make bench-peers`"
    return [each for each in (LITELLM_PROXY, PORTKEY_GATEWAY) if each.name not in why], why
