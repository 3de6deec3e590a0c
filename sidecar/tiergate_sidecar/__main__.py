"""The `tiergate` command and `python -m tiergate_sidecar`: and what to say without its parts."""

try:
    from tiergate_sidecar.cli import main
except ModuleNotFoundError as missing:
    raise SystemExit(f"tiergate: {missing}; pip install 'tiergate[sidecar]'") from None

if __name__ == "__main__":
    main(prog_name="tiergate")
