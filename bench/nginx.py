"""nginx from Debian in its two parts: the upstream that answers at once, and a plain `proxy_pass`.

One worker each, in the foreground, with everything it writes in the folder it is given.
"""

import os
import pwd

from ends import ANSWER
from subject import Place, Start, Subject

NGINX = "/usr/sbin/nginx"

FRAME = """
daemon off; worker_processes 1; user {user}; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
  access_log off; server_tokens off; client_max_body_size 0; client_body_buffer_size 4m;
  keepalive_requests 1000000000; keepalive_timeout 600;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  {upstream}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{ {location} }}
  }}
}}
"""

SAYS = f"default_type application/json; return 200 '{ANSWER.decode()}';"

# `return` does not wait for the body, and no provider answers half a prompt: a long one is read
# first, by passing the request on without it.
ANSWERS = f"""
proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Content-Length "";
proxy_pass_request_body off;
if ($content_length ~ "^[0-9]{{5,}}$") {{ proxy_pass http://upstream; break; }}
{SAYS}
"""

# Without buffering of answers, as a gateway for streams has to be.
PASSES = """
proxy_pass http://upstream; proxy_http_version 1.1; proxy_set_header Connection "";
proxy_buffering off;
"""

UPSTREAM_OF = """
upstream upstream {{
  server {address}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 600;
}}
"""


def _start(place: Place, location: str, upstream: str = "") -> Start:
    user = pwd.getpwuid(os.geteuid()).pw_name  # of root's workers too: the folder is ours alone
    config = FRAME.format(user=user, port=place.port, location=location, upstream=upstream)
    (place.folder / "nginx.conf").write_text(config)
    return Start((NGINX, "-p", str(place.folder), "-c", "nginx.conf", "-e", "stderr"))


def answers(place: Place) -> Start:
    inner = f"server {{ listen unix:{place.folder}/inner; location / {{ {SAYS} }} }}"
    upstream = UPSTREAM_OF.format(address=f"unix:{place.folder}/inner")
    return _start(place, ANSWERS, upstream + inner)


def passes(place: Place) -> Start:
    return _start(place, PASSES, UPSTREAM_OF.format(address=f"127.0.0.1:{place.upstream}"))


UPSTREAM = Subject("nginx, answering", answers)
PROXY = Subject("nginx proxy_pass", passes)
