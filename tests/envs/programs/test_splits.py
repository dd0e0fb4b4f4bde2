"""Splits: what is removed and why, held against the rules on random data; drawing projects; finding leaks."""

import random
import shutil

import pytest

from compiler_dojo.envs.errors import InvalidConfigError
from compiler_dojo.envs.llvm.lowering import lower
from compiler_dojo.envs.programs import Program
from compiler_dojo.envs.programs.measure import measure
from compiler_dojo.envs.programs.splits import (
    PRIORITY,
    Deduplicated,
    Entry,
    Removal,
    check_splits,
    remove_duplicates,
    split_projects,
)

FRACTIONS = {"train": 0.8, "valid": 0.1, "test": 0.1}
PINNED = {"zlib": "train", "lua": "test", "sqlite3": "test", "bzip2": "train"}


def entry(uri: str, split: str, module: str = "", functions: str = "", project: str = "") -> Entry:
    """An entry with a module hash of its own unless one is given, and a function for each letter."""
    return Entry(uri, project, split, module or f"module of {uri}", tuple(letter.encode() for letter in functions))


def random_entries(rng: random.Random, count: int, hashes: int, functions: int = 3) -> list[Entry]:
    def draw() -> bytes:
        return rng.randrange(hashes).to_bytes(16, "big")

    return [
        Entry(
            f"set://{number}",
            f"project{rng.randrange(5)}",
            rng.choice(PRIORITY),
            draw().hex(),
            tuple(sorted({draw() for _ in range(rng.randrange(functions + 1))})),
        )
        for number in rng.sample(range(10 * count), count)
    ]


def by_split(entries: list[Entry]) -> dict[str, list[Entry]]:
    return {split: [e for e in entries if e.split == split] for split in PRIORITY}


def test_remove_duplicates__keeps_the_first_of_equal_modules_in_a_split() -> None:
    entries = [entry("c", "train", "m"), entry("a", "train", "m"), entry("b", "train"), entry("d", "train", "m")]
    assert remove_duplicates(entries) == Deduplicated(
        ("a", "b"),
        (Removal("c", "module in the same split", "a"), Removal("d", "module in the same split", "a")),
    )


def test_remove_duplicates__keeps_equal_functions_in_a_split() -> None:
    assert remove_duplicates([entry("a", "train", functions="xy"), entry("b", "train", functions="y")]).removed == ()


def test_remove_duplicates__removes_from_the_later_split() -> None:
    entries = [
        entry("a", "train", "m"),
        entry("b", "train", functions="pq"),
        entry("c", "valid", functions="q"),
        entry("d", "train", functions="r"),
        entry("e", "test", "m", "s"),
        entry("f", "valid", functions="s"),
    ]
    assert remove_duplicates(entries) == Deduplicated(
        ("e", "c", "d"),
        (
            Removal("f", "function in another split", "e"),
            Removal("a", "module in another split", "e"),
            Removal("b", "function in another split", "c"),
        ),
    )
    turned = remove_duplicates(entries, ("train", "valid", "test"))
    assert turned.kept == ("a", "b", "d", "f")


def test_remove_duplicates__lets_what_is_removed_remove_nothing() -> None:
    chain = [
        entry("a", "test", functions="x"),
        entry("b", "valid", functions="xy"),
        entry("c", "train", functions="y"),
        entry("d", "valid", "m", functions="x"),
        entry("e", "valid", "m"),
    ]
    assert remove_duplicates(chain).kept == ("a", "e", "c")


@pytest.mark.parametrize("seed", range(30))
def test_remove_duplicates__keeps_the_rules_on_random_entries(seed) -> None:
    rng = random.Random(seed)
    entries = random_entries(rng, count=rng.randrange(1, 60), hashes=rng.choice([3, 30, 300]))
    result = remove_duplicates(entries)
    known = {e.uri: e for e in entries}
    kept = [known[uri] for uri in result.kept]
    assert sorted([*result.kept, *(removal.uri for removal in result.removed)]) == sorted(known)
    # nothing crosses, nothing is there twice
    anonymous = {split: [e._replace(project="") for e in members] for split, members in by_split(kept).items()}
    assert check_splits(anonymous) == []
    assert all(len({e.structural_hash for e in members}) == len(members) for members in by_split(kept).values())
    # nothing is removed without need
    for uri, reason, duplicate_of in result.removed:
        one, other = known[uri], known[duplicate_of]
        assert other in kept
        assert PRIORITY.index(other.split) <= PRIORITY.index(one.split)
        if reason == "function in another split":
            assert set(one.function_hashes) & set(other.function_hashes)
        else:
            assert one.structural_hash == other.structural_hash
        assert (one.split == other.split) == (reason == "module in the same split")
        assert one.split != other.split or uri > duplicate_of
    # the order of entries means nothing, and a second time changes nothing
    rng.shuffle(entries)
    assert remove_duplicates(entries) == result
    assert remove_duplicates(kept) == Deduplicated(result.kept, ())


def test_remove_duplicates__refuses_unknown_splits_and_names_given_twice() -> None:
    with pytest.raises(InvalidConfigError, match=r"a is in split 'tset', which has no place .*: did you mean 'test'"):
        remove_duplicates([entry("a", "tset")])
    for splits in (("train", "train"), ("test", "train")):
        with pytest.raises(InvalidConfigError, match="two programs are called a; give each a URI of its own"):
            remove_duplicates([entry("a", split) for split in splits])


COPIED = (
    "(const unsigned char *p, long n) {\n  unsigned a = 1, b = 0;\n  for (long i = 0; i < n; i++) {\n"
    "    a = (a + p[i]) % 65521;\n    b = (b + a) % 65521;\n  }\n  return b << 16 | a;\n}\n"
)
PROJECTS = {
    "png/filter.c": "unsigned png_sum" + COPIED + "int png_rows(int h) { return h * 2; }\n",
    "zip/sum.c": "#include <stdlib.h>\nint zip_level = 6;\nstatic unsigned adler" + COPIED
    + "unsigned zip_check(void *p, long n) { return n ? adler(p, n) : abs(zip_level); }\n",
    "zip/twin.c": "#include <stdlib.h>\nint other_level = 6;\nstatic unsigned checksum" + COPIED
    + "unsigned other_check(void *p, long n) { return n ? checksum(p, n) : abs(other_level); }\n",
    "zip/own.c": "unsigned zip_own" + COPIED.replace("16 | a", "15 | a"),
}  # fmt: skip


@pytest.mark.skipif(shutil.which("clang-19") is None, reason="clang-19 is not installed")
def test_remove_duplicates__finds_a_renamed_copy_in_another_project(write) -> None:
    entries = []
    for name, text in PROJECTS.items():
        project = name.partition("/")[0]
        program = Program(name, lower(write(name, text)), project=project)
        entries.append(Entry.of(program, measure(program, ()), "test" if project == "png" else "train"))
    result = remove_duplicates(entries)
    assert result.kept == ("png/filter.c", "zip/own.c")
    assert result.removed == tuple(
        Removal(uri, "function in another split", "png/filter.c") for uri in ("zip/sum.c", "zip/twin.c")
    )
    (leak,) = check_splits(by_split(entries))
    assert leak.endswith(" is in test (png/filter.c) and train (zip/sum.c)")
    assert check_splits(by_split([e for e in entries if e.uri in result.kept])) == []


def test_split_projects__is_stable_and_keeps_the_fractions() -> None:
    names = [f"project-{i}" for i in range(20_000)]
    splits = split_projects(names, FRACTIONS, seed=1)
    for split, share in FRACTIONS.items():
        # a standard deviation is at most 0.003
        assert abs(sum(s == split for s in splits.values()) / len(names) - share) < 0.015
    # neither order nor company moves a project
    few = split_projects(reversed(names[100:200]), FRACTIONS, seed=1)
    assert few == {name: splits[name] for name in names[100:200]}
    assert split_projects(names, FRACTIONS, seed=2) != splits
    # the same in every process and release
    assert split_projects(["zlib", "lua", "sqlite3", "bzip2"], {"train": 0.5, "test": 0.5}) == PINNED


def test_split_projects__gives_nothing_to_a_split_without_a_share() -> None:
    names = [str(i) for i in range(500)]
    assert set(split_projects(names, {"valid": 0.0, "train": 1.0, "test": 0.0}).values()) == {"train"}
    thirds = split_projects(names, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})
    assert set(thirds.values()) == {"a", "b", "c"}


@pytest.mark.parametrize("fractions", [{}, {"train": 0.5}, {"train": 1.5, "test": -0.5}, {"train": float("nan")}])
def test_split_projects__refuses_fractions_that_make_no_whole(fractions) -> None:
    with pytest.raises(InvalidConfigError, match="fractions of splits are at least 0 and add up to 1, got"):
        split_projects(["zlib"], fractions)


def test_check_splits__names_what_crosses() -> None:
    train = [entry("a", "", "m", "x", project="zlib"), entry("b", "", "m", "x", project="zlib"), entry("c", "")]
    test = [entry("d", "", "m", "xy", project="zlib"), entry("e", "", "n")]
    assert check_splits({"train": train, "test": test}) == [
        "project zlib is in train (a) and test (d)",
        "module m is in train (a) and test (d)",
        "function 78 is in train (a) and test (d)",
    ]
    assert check_splits({"train": train}) == []
    assert check_splits({"train": train, "test": test[1:]}) == []
