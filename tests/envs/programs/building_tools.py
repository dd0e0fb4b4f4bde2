"""What tests of builds compile, with what, and what they look at."""

from dataclasses import dataclass
from pathlib import Path

from compiler_dojo.envs.programs.building import BuildResult
from compiler_dojo.envs.programs.storage import open_set


def function(name: str, loops: int = 6) -> str:
    body = "".join(f"for (int i = 0; i < {n + 3}; i++) x = x * {n + 5} + i;\n" for n in range(loops))
    return f"int {name}(int x) {{ {body} return x; }}\n"


@dataclass
class Compiler:
    """The real compiler, behind a script that notes what is compiled, and misbehaves as a unit's name says."""

    folder: Path

    @property
    def compiled(self) -> list[str]:
        log = self.folder / "log"
        return log.read_text().split() if log.exists() else []

    @property
    def hold(self) -> Path:
        """While it is there, compiling slow.c does not end."""
        return self.folder / "hold"


def hashes(result: BuildResult) -> dict[str, str]:
    return {program.uri: program.sha256 for program in open_set(result.folder)}


def reports(cache: Path) -> dict[str, int]:
    """Times at which the reports of finished packages were written, by package."""
    return {p.name.rpartition("-")[0]: p.stat().st_mtime_ns for p in (cache / "builds").glob("*/*.json")}
