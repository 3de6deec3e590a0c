"""Our Dockerfile as the tests read it: its instructions, by stage."""

import json
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Instruction(NamedTuple):
    """`stage` counts from 0; -1 is what stands before the first `FROM`."""

    stage: int
    name: str
    value: str

    @property
    def words(self) -> list[str]:
        """The exec form's words, or a shell's."""
        exec_form = self.value.startswith("[")
        return json.loads(self.value) if exec_form else shlex.split(self.value)


def instructions(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and line.lstrip()[0] != "#"]
    found, stage = [], -1
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, value = line.strip().partition(" ")
        stage += name == "FROM"
        found.append(Instruction(stage, name, " ".join(value.split())))
    return found


DOCKERFILE = instructions((ROOT / "Dockerfile").read_text(encoding="utf-8"))


def final(name: str) -> Instruction:
    """The one such instruction of the last stage."""
    last = DOCKERFILE[-1].stage
    (found,) = [each for each in DOCKERFILE if (each.stage, each.name) == (last, name)]
    return found


def pairs(name: str) -> dict[str, str]:
    """`ENV` or `LABEL` of the last stage."""
    return dict(word.split("=", 1) for word in final(name).words)
