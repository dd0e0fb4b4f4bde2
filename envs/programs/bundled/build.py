"""Build the bundled programs' bitcode and manifest from their sources, or check that they match.

``make programs`` runs this; continuous integration runs it with ``--check``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from compiler_dojo.envs.errors import DojoError
from compiler_dojo.envs.llvm.execution import build_executable, run_executable
from compiler_dojo.envs.llvm.library import load_library
from compiler_dojo.envs.llvm.lowering import LANGUAGES, LOWERINGS, lower
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs.bundled import FOLDER, MANIFEST, split_of
from compiler_dojo.envs.programs.program import RunSpecification

STANDARDS = {"c": "-std=c11", "c++": "-std=c++17"}


def sources() -> list[Path]:
    """All source files, sorted by domain and name."""
    return sorted(path for path in (FOLDER / "src").glob("*/*") if path.suffix in LANGUAGES)


def build_program(source: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Compile and run one program.

    Returns:
        Its bitcode by lowering, and its manifest entry.
    """
    language = LANGUAGES[source.suffix]
    bitcode = {name: lower(source, name, [STANDARDS[language]]) for name in LOWERINGS}
    entry: dict[str, Any] = {
        "language": language,
        "split": split_of(source.parent.name),
        "source": source.relative_to(FOLDER).as_posix(),
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
    }
    for name, module in bitcode.items():
        with CompilerSession(module, source.name) as session:
            entry[name] = {"hash": session.hash(), "instructions": session.instruction_count}
            if name == "oz":
                with build_executable(session) as executable:
                    entry["output"] = run_executable(executable, RunSpecification()).output
    return bitcode, entry


def key_of(source: Path) -> str:
    """``DOMAIN/NAME``."""
    return f"{source.parent.name}/{source.stem}"


def main() -> int:
    """Build, or with ``--check`` compare; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with what is committed, write nothing")
    arguments = parser.parse_args()
    old: dict[str, Any] = json.loads(MANIFEST.read_text())["programs"] if MANIFEST.exists() else {}
    programs: dict[str, Any] = {}
    wrong = []
    for source in sources():
        key = key_of(source)
        bitcode, programs[key] = build_program(source)
        if arguments.check:
            committed = all(_committed_hash(key, name) == programs[key][name]["hash"] for name in bitcode)
            if not committed or old.get(key) != programs[key]:
                wrong.append(key)
            continue
        for name, module in bitcode.items():
            path = _bitcode_path(key, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(module)
    if arguments.check:
        known = {f"{path.parent.name}/{path.stem}" for path in (FOLDER / "bitcode").rglob("*.bc")} | set(old)
        wrong.extend(f"{key} (no source)" for key in sorted(known - set(programs)))
        if wrong:
            print(f"differ from their sources: {', '.join(wrong)}; run `make programs`", file=sys.stderr)
            return 1
        print(f"{len(programs)} programs match their sources")
        return 0
    for path in (FOLDER / "bitcode").rglob("*.bc"):
        if f"{path.parent.name}/{path.stem}" not in programs:
            path.unlink()
    version = ".".join(map(str, load_library().version))
    MANIFEST.write_text(json.dumps({"llvm": version, "programs": programs}, indent=1, sort_keys=True) + "\n")
    print(f"built {len(programs)} programs with LLVM {version}")
    return 0


def _bitcode_path(key: str, lowering: str) -> Path:
    return FOLDER / "bitcode" / lowering / f"{key}.bc"


def _committed_hash(key: str, lowering: str) -> str | None:
    path = _bitcode_path(key, lowering)
    if not path.exists():
        return None
    try:
        with CompilerSession(path.read_bytes(), key) as session:
            return session.hash()
    except DojoError:
        return None


if __name__ == "__main__":
    sys.exit(main())
