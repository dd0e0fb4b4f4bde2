"""The errors of the environments: one tree, each message saying what was expected, what came, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class DojoError(Exception):
    """Base class of every error that CompilerDojo raises on purpose."""


class NativeLibraryError(DojoError):
    """The C core or libLLVM is missing, unusable, or of an unsupported version."""


class ToolchainError(DojoError):
    """A program of the toolchain (clang, a linker) that is needed for this request is missing."""


class InvalidProgramError(DojoError):
    """A program does not parse, defines nothing, or does not verify."""


class UnreadableProgramError(InvalidProgramError):
    """A program is not IR that this LLVM can read."""


class CompilationError(InvalidProgramError):
    """A source does not compile, or not in time; the message carries the compiler's diagnostics."""


class UnknownProgramError(DojoError, LookupError):
    """No program has this name, or no file matches this pattern."""


class FetchError(DojoError):
    """Something could not be fetched: no network, a wrong hash, a truncated archive."""


class UnsafeArchiveError(FetchError):
    """An archive that would write outside its folder, or unpacks to more than it may."""


class DatasetError(DojoError):
    """A stored set of programs that cannot be read or written."""


class PassFailedError(DojoError):
    """LLVM refused to run a pipeline."""


class CompilerFailedError(DojoError):
    """The compiler's process did not survive a request.

    Attributes:
        pipeline: text of the pass that was run, or what else was asked for.
        reproducer: folder with what is needed to see it again (`dojo reduce` makes it smaller), or None.
    """

    def __init__(self, message: str, pipeline: str = "", reproducer: Path | None = None) -> None:
        super().__init__(message)
        self.pipeline = pipeline
        self.reproducer = reproducer


class CompilerCrashedError(CompilerFailedError):
    """LLVM crashed: a segmentation fault, an abort, a fatal error, or no memory left."""


class CompilerTimeoutError(CompilerFailedError):
    """A pass took longer than its limit."""


class CompilerLostError(CompilerFailedError):
    """The compiler's process ended for a reason that is not known, such as a kill from outside."""


class ReplayError(DojoError):
    """Running the same passes again gave another module: a pass is not deterministic."""


class UnknownPassError(DojoError, LookupError):
    """A pass name that is not in the action table."""


class UnknownObservationError(DojoError, LookupError):
    """An observation name that is not registered."""


class UnknownRewardError(DojoError, LookupError):
    """A reward metric or baseline that is not known."""


class InvalidActionError(DojoError, ValueError):
    """An action outside the action space."""


class EpisodeStateError(DojoError):
    """step() before reset(), or after the end of the episode."""


class InvalidWorkloadError(DojoError, ValueError):
    """A tensor contraction that is not one, or that is not supported."""


class IllegalScheduleError(DojoError, ValueError):
    """A transformation that a loop nest does not allow, or a nest that no code can be generated for."""


class InvalidArrayError(DojoError, ValueError):
    """An array of another shape, data type or layout than a kernel was compiled for."""


class SessionBusyError(DojoError):
    """begin() and end() of a session came in another order."""


class SessionClosedError(DojoError):
    """A session or environment was used after it was closed."""


class InvalidConfigError(DojoError, ValueError):
    """A setting that does not exist or a value that makes no sense."""


class InvalidRecordError(DojoError, ValueError):
    """A record or run folder that cannot be read."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or the list of all when none is near.

    A name without a slash is compared with the last parts of known names that have slashes.
    """
    typed = {item if "/" in name else item.rsplit("/", 1)[-1]: item for item in sorted(known)}
    near = difflib.get_close_matches(name, typed, n=1, cutoff=0.5)
    if near:
        return f"did you mean {typed[near[0]]!r}?"
    names = list(typed.values())
    return "known: " + ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
