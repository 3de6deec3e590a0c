"""tiergate as a process of its own: the command line, the server, fake providers to try it with.

Uses only the public names of `tiergate`. One name is for host apps, which may mount the operators'
pages behind a guard of their own:

    from tiergate_sidecar import admin_app
    app.mount("/ops", admin_app(gateway))
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiergate_sidecar.admin import admin_app

__all__ = ["admin_app"]


def __getattr__(name: str) -> Any:
    if name == "admin_app":
        # The command says which of its parts is missing, so this package imports none by itself.
        from tiergate_sidecar.admin import admin_app

        return admin_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
