"""A program to compile: its LLVM module, where it came from, and how to run it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class RunSpecification:
    """How to check a program's behaviour: run it and compare what it prints.

    Attributes:
        arguments: command-line arguments.
        output: expected standard output, or None to compare with the -O0 build only.
        seconds: wall-clock limit of one run.
    """

    arguments: tuple[str, ...] = ()
    output: str | None = None
    seconds: float = 10.0


@dataclass(frozen=True)
class Provenance:
    """Where a program comes from, beyond its URI; every field is empty when not known.

    Attributes:
        package: source package, sdist or suite, such as ``zlib``.
        version: the package's version.
        package_source: name of the archive it came in, with ``#sha256=`` and its hash where known.
        license_expression: SPDX expression of the licence.
        license_source: how the licence was found, such as ``debian/copyright``.
        license_files: files of the package that hold its licence.
    """

    package: str = ""
    version: str = ""
    package_source: str = ""
    license_expression: str = ""
    license_source: str = ""
    license_files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Program:
    """A program as agents meet it.

    Attributes:
        uri: where it comes from, such as ``bundled://compression/lzss`` or ``file:///home/me/foo.c``.
        module: LLVM bitcode or textual IR, unoptimised.
        lowering: how the module was made from source: ``oz``, ``compilergym``, or ``given`` for IR that came as it is.
        language: ``c``, ``c++``, ``fortran``, ``rust``, or ``llvm`` when only IR is known.
        domain: what the program is about; splits are made of whole domains.
        run: how to run it, or None when it cannot be run on its own.
        source: its source file, or None when only IR is known; no part of what makes programs equal.
        project: what it is a part of; splits are made of whole projects. No part of what makes programs equal.
        provenance: its package and licence; no part of what makes programs equal.
        sha256: hash of ``module``, in hexadecimal digits.
    """

    uri: str
    module: bytes = field(repr=False)
    lowering: str = "given"
    language: str = "llvm"
    domain: str = ""
    run: RunSpecification | None = None
    source: Path | None = field(default=None, repr=False, compare=False)
    project: str = field(default="", compare=False)
    provenance: Provenance = field(default_factory=Provenance, repr=False, compare=False)
    sha256: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", hashlib.sha256(self.module).hexdigest())
