"""The house: each file in its layer, imports point down, no file over 300 lines, no patches."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARY = ROOT / "middleware" / "tiergate"
SIDECAR = ROOT / "sidecar" / "tiergate_sidecar"

LAYERS = [
    {"tiers", "errors", "sse", "watch", "wellknown", "pools", "names", "series", "harmless"}
    | {"fresh_ids", "tables", "adaptation", "demand"}
    | {"vocabulary_depth", "vocabulary_ease", "vocabulary_fields"},
    {"what_if_result", "routing_config", "entry_rules", "vocabulary", "lexicon"},
    {"config", "wire", "completion", "decoding", "file_watch", "redis_url", "log_url", "aside"},
    {"faults", "document", "request_headers", "capacity", "redis_client"}
    | {"attachments", "prompt", "candidates"},
    {"estimate", "policies", "signals"},
    {"profile", "classify"},
    {"crosscheck"},
    {"loading", "snapshot", "endpoint", "intake", "redis_link"},
    {"transport", "sources", "credentials", "cache", "transcript", "health", "worker_count"},
    {"exchange", "feed", "retry", "key_files"},
    {"sessions", "resolve", "response_headers", "concede", "relay", "opening", "probing"}
    | {"content"},
    {
        "reach",
        "shared_sessions",
        "conversation",
        "routing",
        "attempt",
        "testing",
        "store",
        "record",
    },
    {"times", "waiting", "reply", "metrics", "spans", "log_row", "reloads"},
    {"forward", "assembly", "present", "meters", "log_store", "handling"},
    {"preparation", "telemetry", "explanation", "log_schema", "log_writer"},
    {"reporting", "log_sql", "row_reading", "trial"},
    {"requestlog", "tally"},
    {"courses"},
    {"status", "what_if"},
    {"gateway"},
    {"respond"},
    {"asgi", "response"},
    {"__init__"},
]

SIDECAR_LAYERS = [
    {"rawhttp", "mock_faults", "settings", "errors", "samples", "life"}
    | {"allowed_paths", "vigil", "http_protocol", "memory", "in_thread", "paging", "text_table"}
    | {"labels", "pod_grammar", "pod_patch", "other_sidecars", "app_breakage", "injection_result"}
    | {"yaml_places", "yaml_writing", "patching"}
    | {"webhook_body", "webhook_metrics", "certificates"},
    {"queries", "mock_answers", "logs", "login", "reading", "recent", "effective", "otel"}
    | {"tokens", "listener", "health_command", "proxy_headers", "log_rows"}
    | {"injector", "pod_reading", "yaml_edits"}
    | {"review", "make_certs", "kube"},
    {
        "replaying",
        "mock_scripts",
        "ring_history",
        "log_queries",
        "prometheus",
        "inspector",
        "sealing",
        "gate",
    }
    | {"destinations"}
    | {"injection_status", "selection", "app_env", "overrides", "sidecar_container", "manifests"},
    {"mock", "guard", "sql_history", "live", "explaining", "probes", "upstreams"}
    | {"injecting", "uninjection", "obstacles"},
    {"history", "passage", "injection"},
    {"trials"},
    {"api", "proxy", "manifest_injection", "webhook"},
    {"admin", "app", "inject_command", "webhook_server", "replay_command"},
    {"server", "webhook_command"},
    {"cli"},
    {"__main__", "__init__"},
]

MAY_IMPORT_INSIDE = {
    "loading": {"yaml"},
    "cache": {"aiocache"},
    "redis_link": {"redis"},
    "redis_client": {"redis"},
    "shared_sessions": {"redis"},
    "file_watch": {"watchfiles"},
    "log_sql": {"psycopg", "sqlalchemy"},
    "log_schema": {"sqlalchemy"},
    "otel": {"opentelemetry"},
    "health_command": {"tiergate", "tiergate_sidecar"},
    "yaml_places": {"yaml"},
    "certificates": {"cryptography"},
    "make_certs": {"cryptography"},
    "requestlog": {"tiergate"},
    "sql_history": {"tiergate_sidecar"},
    "replaying": {"tiergate_sidecar"},
    "__init__": {"tiergate", "tiergate_sidecar"},
}
"""Optional or costly drivers, each explained where it is imported."""

LONGEST = 300


def imports(path: Path) -> list[tuple[str, bool]]:
    """Imported modules, and whether the import is inside a function; TYPE_CHECKING left out."""
    found: list[tuple[str, bool]] = []

    def walk(node: ast.AST, inside: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                found.extend((name.name, inside) for name in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                found.append((child.module or "", inside))
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            walk(child, inside or function)

    walk(ast.parse(path.read_text()), False)
    return found


def rank(layers, name):
    ranks = [index for index, names in enumerate(layers) if name in names]
    assert len(ranks) == 1, f"{name} stands in {len(ranks)} layers"
    return ranks[0]


@pytest.mark.parametrize(
    ("folder", "package", "layers"),
    [(LIBRARY, "tiergate", LAYERS), (SIDECAR, "tiergate_sidecar", SIDECAR_LAYERS)],
)
def test_imports_point_down(folder, package, layers):
    for path in sorted(folder.glob("*.py")):
        own = rank(layers, path.stem)
        for module, _ in imports(path):
            if module.startswith(f"{package}."):
                imported = module.split(".")[1]
                assert rank(layers, imported) < own, f"{path.name} imports {module}"


def test_every_name_in_a_layer_is_a_file():
    for folder, layers in ((LIBRARY, LAYERS), (SIDECAR, SIDECAR_LAYERS)):
        assert set().union(*layers) == {path.stem for path in folder.glob("*.py")}


def test_the_sidecar_uses_public_names_only():
    import tiergate

    public = set(tiergate.__all__)
    for path in sorted(SIDECAR.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tiergate."):
                pytest.fail(f"{path.name} imports {node.module}")
            if isinstance(node, ast.ImportFrom) and node.module == "tiergate":
                assert {name.name for name in node.names} <= public, path.name


def test_nothing_is_imported_inside_a_function_but_named_drivers():
    for path in [*LIBRARY.glob("*.py"), *SIDECAR.glob("*.py")]:
        for module, inside in imports(path):
            if inside:
                assert module.split(".")[0] in MAY_IMPORT_INSIDE.get(path.stem, ()), path.name


@pytest.mark.parametrize("folder", [LIBRARY, SIDECAR])
def test_a_file_is_one_noun(folder):
    for path in folder.glob("*.py"):
        assert len(path.read_text().splitlines()) <= LONGEST, path.name


@pytest.mark.parametrize("folder", [LIBRARY, SIDECAR])
def test_every_file_says_what_lives_in_it(folder):
    for path in folder.glob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path.name


def test_nothing_is_patched():
    for path in (ROOT / "tests").rglob("*.py"):
        if path.name != "test_layout.py":
            text = path.read_text()
            assert not re.search(r"monkeypatch\.setattr|mock\.patch|\bpatch\(", text), path.name


def test_aiohttp_is_known_to_two_files_and_starlette_to_one():
    for path in LIBRARY.glob("*.py"):
        known = {module.split(".")[0] for module, _ in imports(path)}
        assert "aiohttp" not in known or path.stem in ("transport", "sources"), path.name
        assert "starlette" not in known or path.stem == "response", path.name


def test_every_library_file_has_its_test_file():
    tests = {path.stem for path in (ROOT / "tests").glob("test_*.py")}
    for path in [*LIBRARY.glob("*.py"), *SIDECAR.glob("*.py")]:
        if path.stem not in {"__init__", "__main__"}:
            assert f"test_{path.stem}" in tests, path.name


def test_no_more_than_ten_fixtures():
    fixtures = [
        path.name
        for path in (ROOT / "tests").rglob("*.py")
        for _ in re.findall(r"@pytest(?:_asyncio)?\.fixture", path.read_text())
        if path.name != "test_layout.py"
    ]
    assert len(fixtures) <= 10, fixtures
