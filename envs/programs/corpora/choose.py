"""How the lists of the standard corpora were made; run as a module, it makes them anew from a folder of built packages.

Whole maintainers go to one split, not only whole projects; what splits share all the same is removed.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compiler_dojo.envs.programs.corpora import FOLDER, Corpus, PinnedPackage, write_corpus
from compiler_dojo.envs.programs.sources.archive import Archive, SourcePackage, shared_archive
from compiler_dojo.envs.programs.sources.debian import find_headers, job_for
from compiler_dojo.envs.programs.sources.packages import PackageReport, build_package, project_of, summed
from compiler_dojo.envs.programs.splits import Entry, Removal, remove_duplicates
from compiler_dojo.envs.programs.storage import read_rows

CANDIDATES = FOLDER / "candidates.json"
"""Packages that were tried, each with its domain, "" where it may only be trained on."""

SEED = 2022
LEAST_YIELD = 0.6
LEAST_PROGRAMS = 4
TEST_PACKAGES_PER_DOMAIN = 6
VALID_PACKAGES_PER_DOMAIN = 2
HELD_OUT_LEAST = 18
SHADOW = 120
HELD_OUT_PER_PACKAGE = 60
TRAIN_PER_PACKAGE = 500
TRAIN_PROGRAMS = 20_400
MINI_PROGRAMS = 2_000
TINY = ("figlet", "remind", "twolame")
MINI_PACKAGES = 60
MINI_SOURCES_BYTES = 1_500_000
WHOLE_PER_PACKAGE = 4
WHOLE_PROGRAMS = 48
WHOLE_UNITS = 150
WHOLE_INSTRUCTIONS = (50, 50_000)


@dataclass
class Candidate:
    """A package that was built: its report, its programs' entries, and who maintains it."""

    package: SourcePackage
    report: PackageReport
    domain: str
    entries: list[Entry] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The source package."""
        return self.package.name

    @property
    def groups(self) -> tuple[str, str]:
        """What keeps it together with others in one split: its maintainer and its project."""
        return self.package.maintainer, project_of(self.name)

    @property
    def size(self) -> int:
        """How many programs it has."""
        return len(self.entries)


def read_candidates(folder: Path, archive: Archive) -> list[Candidate]:
    """The packages that were built into a folder, without those of low yield or next to no programs."""
    domains: dict[str, str] = json.loads(CANDIDATES.read_text())
    found = []
    for path in sorted(folder.glob("*.json")):
        report = PackageReport.read(path)
        if report.kept < LEAST_PROGRAMS or report.compiled < LEAST_YIELD * report.tried:
            continue
        candidate = Candidate(archive.find(report.name, report.version), report, domains.get(report.name, ""))
        for row in read_rows(path.with_suffix(".parquet")):
            candidate.entries.append(Entry.of(row.program, row.measurement, "train"))
        found.append(candidate)
    return found


def assign(candidates: Sequence[Candidate]) -> dict[str, str]:
    """The split of each package that is used, by name.

    In every domain those packages are held out whose maintainers and projects have the fewest programs: what else
    these have may not be trained on.
    """
    weight: collections.Counter[str] = collections.Counter()
    for candidate in candidates:
        for group in candidate.groups:
            weight[group] += candidate.size
    splits: dict[str, str] = {}
    owner: dict[str, str] = {}
    domains = sorted({c.domain for c in candidates if c.domain})
    for split, count in (("test", TEST_PACKAGES_PER_DOMAIN), ("valid", VALID_PACKAGES_PER_DOMAIN)):
        for domain in domains:
            free = [c for c in candidates if c.domain == domain and c.name not in splits]
            free = [c for c in free if c.size >= HELD_OUT_LEAST and all(owner.get(g, split) == split for g in c.groups)]
            # what else its maintainer and its project have
            shadow = {c.name: sum(weight[group] - c.size for group in c.groups) for c in free}
            free = [c for c in free if shadow[c.name] <= SHADOW]
            free.sort(key=lambda c: (c.size + shadow[c.name], c.name))
            for candidate in free[:count]:
                splits[candidate.name] = split
                owner.update(dict.fromkeys(candidate.groups, split))
    for candidate in candidates:
        if candidate.name not in splits and not any(group in owner for group in candidate.groups):
            splits[candidate.name] = "train"
    return splits


def choose(candidates: Sequence[Candidate]) -> tuple[dict[str, list[Entry]], list[Removal]]:
    """The programs of each split, and what was removed because another program is too much like it."""
    splits = assign(candidates)
    used = [c for c in candidates if c.name in splits]
    entries = [entry._replace(split=splits[c.name]) for c in used for entry in c.entries]
    result = remove_duplicates(entries)
    kept = set(result.kept)
    chosen: dict[str, list[Entry]] = {"test": [], "valid": [], "train": []}
    for candidate in used:
        split = splits[candidate.name]
        own = [entry._replace(split=split) for entry in candidate.entries if entry.uri in kept]
        limit = TRAIN_PER_PACKAGE if split == "train" else HELD_OUT_PER_PACKAGE
        if len(own) > limit:
            own = random.Random(f"{SEED}/{candidate.name}").sample(own, limit)
        chosen[split] += own
    if len(chosen["train"]) > TRAIN_PROGRAMS:
        chosen["train"] = random.Random(SEED).sample(chosen["train"], TRAIN_PROGRAMS)
    return chosen, list(result.removed)


def pinned(entries: Sequence[Entry], candidates: Mapping[str, Candidate]) -> tuple[PinnedPackage, ...]:
    """Entries as packages with units."""
    by_package: dict[str, dict[str, str]] = {}
    for entry in entries:
        package, _, unit = entry.uri.partition("://")[2].partition("/")
        by_package.setdefault(package, {})[unit] = candidates[package].report.units[unit].split()[0]
    return tuple(_pinned(candidates[name], units) for name, units in sorted(by_package.items()))


def _pinned(candidate: Candidate, units: Mapping[str, str]) -> PinnedPackage:
    package = candidate.package
    domain = candidate.domain or package.section.rpartition("/")[2]
    return PinnedPackage(
        package.name, package.version, package.sources.sha256, project_of(package.name), domain, dict(units)
    )


def whole_programs_of(candidates: Sequence[Candidate], archive: Archive, folder: Path) -> Iterator[PinnedPackage]:
    """Linked programs of packages without too many units: at most four of each, the largest."""
    headers, _ = find_headers(archive)
    count = 0
    for candidate in candidates:
        if count >= WHOLE_PROGRAMS or candidate.report.found > WHOLE_UNITS:
            continue
        job = job_for(candidate.package, archive, linked=True, instructions=WHOLE_INSTRUCTIONS, levels=())
        report = build_package(job, headers.root, folder)
        sizes = sorted(((int(text.split()[1]), unit) for unit, text in report.units.items()), reverse=True)
        units = {unit: report.units[unit].split()[0] for _, unit in sizes[:WHOLE_PER_PACKAGE]}
        print(candidate.name, len(sizes), [size for size, _ in sizes[:WHOLE_PER_PACKAGE]], flush=True)
        count += len(units)
        if units:
            yield _pinned(candidate, units)


def _package_of(entry: Entry) -> str:
    return entry.uri.partition("://")[2].partition("/")[0]


def _sampled(entries: Sequence[Entry], count: int) -> list[Entry]:
    """Programs of as many packages as there are, turn by turn."""
    rng = random.Random(SEED)
    packages: dict[str, list[Entry]] = {}
    for entry in entries:
        packages.setdefault(_package_of(entry), []).append(entry)
    queues = [rng.sample(own, len(own)) for _, own in sorted(packages.items())]
    picked: list[Entry] = []
    while len(picked) < count and any(queues):
        picked += [queue.pop() for queue in queues if queue]
    return picked[:count]


def main() -> None:
    """Write the lists."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="packages built without measurements")
    parser.add_argument("--linked", type=Path, help="folder for linked programs; without it no whole-test")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    archive = shared_archive()
    everything = {path.stem: PackageReport.read(path) for path in sorted(arguments.folder.glob("*.json"))}
    candidates = read_candidates(arguments.folder, archive)
    by_name = {candidate.name: candidate for candidate in candidates}
    chosen, removed = choose(candidates)
    used = {_package_of(entry) for own in chosen.values() for entry in own}
    figures = {
        "tried": _figures(everything.values()),
        "used": _figures(by_name[name].report for name in sorted(used)),
        "duplicates": dict(collections.Counter(f"{r.reason}" for r in removed)),
    }
    for split, about in (
        ("train", "Programs to train on."),
        ("valid", "Programs to choose settings by; other maintainers than those of the training programs."),
        ("test", "Programs to report; other maintainers and projects than those of the other corpora."),
    ):
        packages = pinned(chosen[split], by_name)
        write_corpus(Corpus(f"corpus-{split}", about, packages, selection=figures))
        print(split, len(packages), "packages", len({p.project for p in packages}), "projects", len(chosen[split]))
    small = sorted(
        name
        for name in {_package_of(e) for e in chosen["train"]}
        if by_name[name].package.sources.size < MINI_SOURCES_BYTES
    )
    few = set(random.Random(SEED).sample(small, min(MINI_PACKAGES, len(small))))
    mini = pinned(_sampled([e for e in chosen["train"] if _package_of(e) in few], MINI_PROGRAMS), by_name)
    write_corpus(Corpus("corpus-mini", "A part of corpus-train, a few programs of each project.", mini))
    tiny = [entry for entry in chosen["train"] if _package_of(entry) in TINY]
    write_corpus(Corpus("corpus-tiny", "A few dozen programs of corpus-train, for a first try.", pinned(tiny, by_name)))
    if arguments.linked:
        held_out = [by_name[name] for name in sorted({p.name for p in pinned(chosen["test"], by_name)})]
        whole = tuple(whole_programs_of(held_out, archive, arguments.linked))
        about = "Whole programs, linked from the units of corpus-test's packages."
        write_corpus(Corpus("whole-test", about, whole, instructions=WHOLE_INSTRUCTIONS, linked=True))


def _figures(reports: Any) -> dict[str, Any]:
    return summed({report.name: report for report in reports})


if __name__ == "__main__":
    main()
