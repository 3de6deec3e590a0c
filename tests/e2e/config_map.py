"""Files as Kubernetes mounts them, and replaces them under a running process."""

import os
import shutil
from pathlib import Path


class ConfigMap:
    """A mounted ConfigMap (or Secret), replaced as kubelet does: a new folder behind `..data`."""

    def __init__(self, folder: Path, **files: str) -> None:
        self.folder = folder
        self._number = 0
        folder.mkdir()
        self.swap(**files)
        for name in files:
            self.path(name).symlink_to(Path("..data", self._file(name)))

    def path(self, name: str) -> Path:
        return self.folder / self._file(name)

    def swap(self, **files: str) -> None:
        """All files at once: their folder, then a link to it, then that link over the old one."""
        self._number += 1
        fresh = self.folder / f"..2026_01_01_00_00_{self._number:02}.123456789"
        fresh.mkdir()
        for name, text in files.items():
            (fresh / self._file(name)).write_text(text)
        data, new = self.folder / "..data", self.folder / "..data_tmp"
        old = data.resolve() if data.exists() else None
        new.symlink_to(fresh.name)
        os.rename(new, data)
        if old is not None:
            shutil.rmtree(old)

    @staticmethod
    def _file(name: str) -> str:
        return name if "." in name else f"{name}.json"
