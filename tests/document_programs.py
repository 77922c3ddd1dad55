"""The programs in a document: what its sections show, as a reader would copy them."""

import re
import runpy
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"(?:<!-- (with a worker) -->\n)?```python\n(.*?)```", re.DOTALL)
_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Program:
    """A section's blocks, with those before the first section; some may need a worker."""

    section: str
    blocks: tuple[tuple[bool, str], ...]

    @property
    def needs_worker(self) -> bool:
        """Whether some of it needs one."""
        return any(worker for worker, _ in self.blocks)

    def execute(self, folder: Path, *, worker: bool) -> None:
        """Execute it as a module of its own, with or without what needs a worker."""
        file = folder / "program.py"
        file.write_text("\n\n".join(code for needs, code in self.blocks if worker or not needs))
        runpy.run_path(str(file), run_name="program")


def programs(document: Path) -> list[Program]:
    """All that have a block, in order."""
    first, *rest = _SECTION.split(document.read_text())
    found = []
    for section, text in zip(rest[::2], rest[1::2], strict=True):
        if _BLOCK.search(text):
            blocks = [(bool(mark), code) for mark, code in _BLOCK.findall(first + text)]
            found.append(Program(section, tuple(blocks)))
    return found
