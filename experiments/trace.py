"""What a list of passes does to a program, step by step, in a form that two runs can be compared by."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from compiler_dojo.envs.llvm.session import CompilerSession


class Observation(NamedTuple):
    """A module as seen from outside.

    Attributes:
        hash: its structural hash.
        counts: digest of InstCount and Autophase.
    """

    hash: str
    counts: str


def observe(session: CompilerSession) -> Observation:
    """The session's module now."""
    counts = session.instcount().tobytes() + session.autophase().tobytes()
    return Observation(session.hash(), hashlib.blake2b(counts, digest_size=8).hexdigest())


def trace(session: CompilerSession, pipelines: Sequence[str]) -> list[Observation]:
    """Run the pipelines one by one; the module at the start and after each."""
    seen = [observe(session)]
    for pipeline in pipelines:
        session.run(pipeline)
        seen.append(observe(session))
    return seen


def first_difference(one: Sequence[Observation], other: Sequence[Observation]) -> int | None:
    """Index of the first observation that differs, or None."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return None if len(one) == len(other) else min(len(one), len(other))
