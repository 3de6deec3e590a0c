"""The `tiergate` command and `python -m tiergate_sidecar`: and what to say without its parts."""

import sys

try:
    if sys.argv[1:2] == ["health"]:
        # Every few seconds in a container: 40 ms of CPU instead of 270.
        from tiergate_sidecar.health_command import alone as main
    else:
        from tiergate_sidecar.cli import main
except ModuleNotFoundError as missing:
    raise SystemExit(f"tiergate: {missing}; pip install 'tiergate[sidecar]'") from None

if __name__ == "__main__":
    main(prog_name="tiergate")
