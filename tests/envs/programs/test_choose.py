"""How lists are chosen: maintainers and projects stay together, and no code is shared."""

import collections
import random

import pytest

from compiler_dojo.envs.programs.corpora import choose as module
from compiler_dojo.envs.programs.corpora.choose import Candidate, assign, choose, pinned
from compiler_dojo.envs.programs.sources.archive import ArchiveFile, SourcePackage
from compiler_dojo.envs.programs.sources.packages import PackageReport, project_of
from compiler_dojo.envs.programs.splits import Entry, check_splits


def candidate(name: str, maintainer: str, domain: str = "", size: int = 20, like: Candidate | None = None) -> Candidate:
    """A package of so many programs; its first is the module of another package where one is given."""
    package = SourcePackage(
        name, "1-1", maintainer, "libs/games", ArchiveFile(f"{name}.tar.gz", 1, f"{len(name):064x}"), None
    )
    entries = [
        Entry(f"debian://{name}/{n}.c", project_of(name), "train", f"{name}-{n}", (f"{name}-{n}".encode(),))
        for n in range(size)
    ]
    if like is not None:
        entries[0] = entries[0]._replace(structural_hash=like.entries[0].structural_hash)
        entries[1] = entries[1]._replace(function_hashes=like.entries[1].function_hashes)
    units = {f"{n}.c": f"{n:016x} 100" for n in range(size)}
    report = PackageReport(name, "1-1", tried=size, compiled=size, kept=size, units=units)
    return Candidate(package, report, domain, entries)


@pytest.fixture
def candidates() -> list[Candidate]:
    rng = random.Random(0)
    domains = ["crypto", "codecs", "games", ""]
    return [
        candidate(f"lib{word}{version}", f"maintainer {rng.randrange(60)}", rng.choice(domains), rng.randint(1, 40))
        for word in [f"{a}{b}" for a in "abcdef" for b in "uvwxyz"]
        for version in ("", "2")
    ]


def test_assign__keeps_maintainers_and_projects_in_one_split(candidates: list[Candidate]) -> None:
    splits = assign(candidates)
    assert set(splits.values()) == {"train", "valid", "test"}
    for index in (0, 1):
        groups: dict[str, set[str]] = {}
        for one in candidates:
            if one.name in splits:
                groups.setdefault(one.groups[index], set()).add(splits[one.name])
        assert all(len(found) == 1 for found in groups.values())


def test_assign__holds_out_packages_of_known_domains_and_some_size(candidates: list[Candidate]) -> None:
    splits = assign(candidates)
    held_out = [one for one in candidates if splits.get(one.name, "train") != "train"]
    assert all(one.domain and one.size >= module.HELD_OUT_LEAST for one in held_out)
    for split, most in (("test", module.TEST_PACKAGES_PER_DOMAIN), ("valid", module.VALID_PACKAGES_PER_DOMAIN)):
        for domain in ("crypto", "codecs", "games"):
            assert 0 < sum(one.domain == domain and splits[one.name] == split for one in held_out) <= most


def test_assign__does_not_depend_on_the_order(candidates: list[Candidate]) -> None:
    assert assign(candidates[::-1]) == assign(candidates)


def test_assign__holds_out_those_that_cost_the_least_training() -> None:
    lonely = [candidate(f"lonely{c}", f"only {c}", "games") for c in "abcdefghi"]
    busy = [candidate(f"busy{c}", "busy", "games") for c in "abcdef"]
    splits = assign([*busy, candidate("other", "busy", size=300), *lonely])
    # six to test, two to choose by, and the busy maintainer's games stay with what else they have
    assert [splits[one.name] for one in lonely] == ["test"] * 6 + ["valid"] * 2 + ["train"]
    assert {splits[one.name] for one in busy} == {splits["other"]} == {"train"}


def test_assign__uses_nothing_else_of_those_that_are_held_out() -> None:
    game = candidate("game", "one", "games", 30)
    splits = assign([game, candidate("tool", "one"), candidate("game2", "two"), candidate("else", "three")])
    assert splits == {"game": "test", "else": "train"}


def test_choose__removes_what_splits_share() -> None:
    test = candidate("games-a", "one", "games")
    candidates = [test, candidate("train-a", "two", like=test), candidate("train-b", "three")]
    chosen, removed = choose(candidates)
    assert [len(chosen[split]) for split in ("test", "valid", "train")] == [20, 0, 38]
    assert {(r.uri, r.reason) for r in removed} == {
        ("debian://train-a/0.c", "module in another split"),
        ("debian://train-a/1.c", "function in another split"),
    }
    assert check_splits(chosen) == []
    assert all(entry.split == split for split, entries in chosen.items() for entry in entries)


def test_choose__caps_what_one_package_gives_and_draws_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRAIN_PER_PACKAGE", 7)
    monkeypatch.setattr(module, "HELD_OUT_PER_PACKAGE", 4)
    candidates = [candidate("a-large", "one"), candidate("b-large", "two"), candidate("game", "three", "games")]
    chosen, _ = choose(candidates)
    assert [len(chosen[split]) for split in ("test", "train")] == [4, 14]
    assert choose(candidates)[0] == chosen
    monkeypatch.setattr(module, "TRAIN_PROGRAMS", 9)
    fewer = choose(candidates)[0]["train"]
    assert len(fewer) == 9
    assert set(fewer) <= set(chosen["train"])


def test_sample__takes_from_all_packages_in_turn() -> None:
    sizes = {"large": 50, "small": 2, "mean": 9}
    entries = [entry for name, size in sizes.items() for entry in candidate(name, name, size=size).entries]
    picked = module._sampled(entries, 12)
    assert collections.Counter(entry.project for entry in picked) == {"large": 5, "small": 2, "mean": 5}
    assert module._sampled(entries, 12) == picked
    assert len(module._sampled(entries, 1_000)) == 61


def test_pinned__is_what_a_list_holds() -> None:
    known, other = candidate("libknown2", "one", "games"), candidate("other", "two")
    entries = [*known.entries[:2], *other.entries[3:4]]
    first, second = pinned(entries, {"libknown2": known, "other": other})
    assert (first.name, first.version, first.project, first.domain) == ("libknown2", "1-1", "libknown", "games")
    assert first.units == {"0.c": f"{0:016x}", "1.c": f"{1:016x}"}
    assert first.sha256 == known.package.sources.sha256
    # without a domain of its own it has its section's
    assert (second.domain, dict(second.units)) == ("games", {"3.c": f"{3:016x}"})
