"""The inspector as a file: one page, with a policy that allows its own script and nothing else.
What it does is shown by a browser, in `e2e/test_inspector.py`."""

import re
from base64 import b64encode
from hashlib import sha256

from tiergate_sidecar.inspector import inspector_page


def served():
    answer = inspector_page()
    return answer.body.decode(), answer.headers["content-security-policy"]


def test_the_policy_allows_the_pages_own_script_and_styles_by_their_digests():
    html, policy = served()
    for tag in ("script", "style"):
        allowed = next(each for each in policy.split("; ") if each.startswith(f"{tag}-src "))
        texts = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digests = [b64encode(sha256(text.encode()).digest()).decode() for text in texts]
        assert allowed == " ".join([f"{tag}-src", *(f"'sha256-{each}'" for each in digests)])
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy


def test_the_scripts_of_both_files_are_in_it():
    html, _ = served()
    assert html.count("<script>") == 2
    for name in ("function explanation(", "function trial(", "function follow("):
        assert name in html
    assert ".js */" not in html


def test_the_page_needs_nothing_that_is_not_in_it():
    html, _ = served()
    assert re.findall(r"""(?:src|href)=["'](?!data:)[^"']+""", html) == []
    assert re.findall(r"@import|url\(", html) == []
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", html) == []


def test_it_works_below_any_prefix():
    html, _ = served()
    paths = re.findall(r"""(?:fetch|ask|post|EventSource)\((["'`])(.+?)\1""", html)
    assert {path.split("/")[0].split("?")[0] for _, path in paths} == {"v1", "health", "login"}


def test_nothing_in_it_parses_html_or_code():
    html, _ = served()
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", html) == []
    assert re.findall(r"\son[a-z]+=", html) == []
