"""Choosing among programs: filters, queries, unions, draws and splits; stored columns spare loading."""

import functools
from collections import Counter

import numpy as np
import pytest

from compiler_dojo.envs.errors import InvalidConfigError, UnknownProgramError
from compiler_dojo.envs.programs import Program, ProgramSet, load_programs
from compiler_dojo.envs.programs.manifest import content_version
from compiler_dojo.envs.programs.program_set import GivenSource
from compiler_dojo.envs.programs.selection import Selection, facts_of, split_query
from compiler_dojo.envs.programs.storage import open_set
from compiler_dojo.envs.programs.stored import StoredPrograms


@pytest.fixture
def given(rows) -> ProgramSet:
    """The programs of the stored set, in memory."""
    return ProgramSet("given", [GivenSource(row.program) for row in rows])


@pytest.fixture
def reads(monkeypatch) -> list[int]:
    """Numbers of the stored programs whose bitcode was read."""
    numbers: list[int] = []
    read = StoredPrograms.program
    monkeypatch.setattr(StoredPrograms, "program", lambda self, row: numbers.append(row) or read(self, row))
    return numbers


CONDITIONS = [
    ({"language": "c++"}, "language=c++", range(0, 30, 3)),
    ({"language": ("c", "c++")}, "language=c&language=c++", range(30)),
    ({"origin": "debian"}, "origin=debian", range(30)),
    ({"project": "project3"}, "project=project3", range(3, 30, 5)),
    ({"project": ["project3", "project4"], "language": "c++"}, None, [3, 9, 18, 24]),
    ({"instructions": (11, 13)}, "instructions=11..13", [10, 11, 12]),
    ({"instructions": (29, None)}, "instructions=29..", [28, 29]),
    ({"instructions": (None, 2)}, "instructions=0..2", [0, 1]),
    ({"uri": "*/project1/*6.c"}, "uri=*/project1/*6.c", [6, 16, 26]),
    ({"language": "c", "instructions": (20, 26), "project": "project2"}, None, [22]),
]


@pytest.mark.parametrize(("arguments", "query", "numbers"), CONDITIONS)
def test_filter__is_the_same_from_columns_and_from_programs(
    stored, given, rows, reads, arguments, query, numbers
) -> None:
    expected = tuple(rows[number].program.uri for number in numbers)
    chosen = open_set(stored).filter(**arguments)
    assert chosen.uris == expected
    assert reads == []
    assert given.filter(**arguments).uris == expected
    if query is not None:
        assert chosen.name == f"thirty?{query}"
        assert load_programs(f"{stored}?{query}").uris == expected


def test_filter__asks_a_predicate_about_what_is_left(stored, reads) -> None:
    chosen = open_set(stored).filter(project="project1", predicate=lambda program: program.run is not None)
    assert chosen.uris == tuple(f"debian://project1/src/unit{number}.c" for number in (1, 11, 21))
    assert chosen.name == "thirty?project=project1&predicate"
    assert reads == [1, 6, 11, 16, 21, 26]


def test_filter__that_leaves_nothing_is_refused(given) -> None:
    with pytest.raises(UnknownProgramError, match=r"the program set 'given\?language=rust' is empty"):
        given.filter(language="rust")


def test_query__reads_what_it_prints() -> None:
    text = "language=c&language=c++&origin=debian&project=a&uri=x*&instructions=5..10"
    assert str(Selection.parse(text)) == text
    assert Selection.parse(text) == Selection(("c", "c++"), ("debian",), ("a",), ("x*",), (5, 10))
    assert split_query("dir/what?.c") == ("dir/what?.c", None)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("languages=c", r"programs are not selected by 'languages': did you mean 'language'\?"),
        ("instructions=50", "instructions=50: expected LOW..HIGH, such as"),
        ("instructions=a..b", r"instructions=a\.\.b: expected LOW"),
    ],
)
def test_query__that_is_not_understood_is_refused(query, message) -> None:
    with pytest.raises(InvalidConfigError, match=message):
        load_programs(f"bundled?{query}")


def test_filter__of_bundled_programs_measures_them() -> None:
    small = load_programs("bundled/graphs?instructions=..140")
    assert "bundled://graphs/union_find" in small.uris
    assert len(small) < len(load_programs("bundled/graphs"))
    assert facts_of(small.sources[0], measured=True).instructions == 133
    assert facts_of(small.sources[0]).instructions is None


def test_version__is_of_the_content_alone(stored, given, rows, reads) -> None:
    programs = open_set(stored)
    assert programs.version == given.version == content_version(row.program.sha256 for row in rows)
    assert reads == []
    assert programs.filter(language="c").version != programs.version
    assert len(programs.version) == 12


def test_union__holds_both_and_each_once(stored, rows) -> None:
    programs = open_set(stored)
    both = programs.filter(project="project1") | programs.filter(instructions=(1, 3))
    assert both.uris == tuple(rows[number].program.uri for number in (1, 6, 11, 16, 21, 26, 0, 2))
    assert both.name == "thirty?project=project1,thirty?instructions=1..3"
    assert (load_programs("bundled/graphs") | open_set(stored) | open_set(stored)).uris[5:] == programs.uris
    assert both.filter(language="c").name == f"({both.name})?language=c"


def test_union__of_different_programs_of_one_uri_is_refused(stored, given) -> None:
    with pytest.raises(InvalidConfigError, match=r"two programs of 'thirty,other' are called 'debian.*leave one of"):
        open_set(stored) | ProgramSet("other", [GivenSource(Program(given.uris[0], b"other"))])


def test_sample__by_project_is_uniform_over_projects(stored, rows) -> None:
    # 6 programs of project0, 1 of project1
    programs = open_set(stored).filter(uri=["*/project0/*", "*/unit1.c"])
    assert len(programs) == 7
    draws = [
        [programs.sample(rng, by="project").uri for _ in range(300)] for rng in map(np.random.default_rng, (1, 1, 2))
    ]
    assert draws[0] == draws[1] != draws[2]
    counts = Counter(draws[0])
    # 150 expected with a standard deviation of 9, against 43 when drawn by program; 25 of each other
    assert 115 < counts["debian://project1/src/unit1.c"] < 185
    assert all(5 < counts[uri] < 50 for uri in programs.uris if "project0" in uri)
    with pytest.raises(InvalidConfigError, match="sampled by 'program' or 'project', got 'domain'"):
        programs.sample(np.random.default_rng(0), by="domain")


def test_sample__by_project_takes_programs_without_one_for_themselves() -> None:
    programs = load_programs("bundled/graphs")
    drawn = {programs.sample(np.random.default_rng(seed), by="project").uri for seed in range(60)}
    assert drawn == set(programs.uris)


def test_split__is_by_whole_project(stored, reads) -> None:
    programs = open_set(stored)
    # the first seed that gives both parts a project
    parts = programs.split({"train": 0.6, "test": 0.4}, seed=0)
    assert {part: programs.name for part, programs in parts.items()} == {"train": "thirty/train", "test": "thirty/test"}
    train, test = ({uri.split("/")[2] for uri in part.uris} for part in parts.values())
    assert train.isdisjoint(test)
    assert len(train) + len(test) == 5
    assert functools.reduce(set.union, (set(part.uris) for part in parts.values())) == set(programs.uris)
    again = programs.split({"train": 0.6, "test": 0.4}, seed=0)
    assert [part.uris for part in again.values()] == [part.uris for part in parts.values()]
    assert reads == []
    with pytest.raises(InvalidConfigError, match="add up to 1"):
        programs.split({"train": 0.6})
    with pytest.raises(UnknownProgramError, match="'thirty/test' is empty"):
        programs.split({"train": 1 - 1e-12, "test": 1e-12})
