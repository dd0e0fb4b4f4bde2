"""The transition cache: what is remembered is what LLVM would do, within a bound."""

import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from compiler_dojo.envs.llvm import session as session_module
from compiler_dojo.envs.llvm.cache import ENTRY_OVERHEAD_BYTES, KEPT_MODULES, TransitionCache
from compiler_dojo.envs.llvm.passes import PASSES
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs import load_programs

PROGRAMS = ["bundled://graphs/union_find", "bundled://containers/ring_buffer", "bundled://parsing/csv_line"]
FEW = ["sroa", "simplifycfg", "instcombine<no-verify-fixpoint>", "early-cse", "gvn", "licm", "loop-rotate", "adce"]
OBSERVATIONS = ["features", "autophase", "instcount", "histogram"]


class FakeModule:
    """A module that is only counted."""

    ended = False


def entry(name: str, size: int) -> tuple[bytes, bytes]:
    return name.encode(), bytes(size - len(name) - ENTRY_OVERHEAD_BYTES)


def open_session(uri: str = PROGRAMS[0], cache: TransitionCache | None = None, **settings) -> CompilerSession:
    session = CompilerSession(load_programs(uri)[0].module, uri, **settings)
    if cache is not None:
        session.remember(cache, uri.encode())
    return session


def state_of(session: CompilerSession) -> tuple:
    return session.hash(), session.instcount().tolist(), session.autophase().tolist()


def test_put__forgets_the_least_recently_used_first() -> None:
    cache = TransitionCache(max_bytes=3000)
    for name in "abc":
        cache.put(*entry(name, 1000))
    assert cache.get(b"a") is not None
    cache.put(*entry("d", 1000))
    assert [cache.get(name) is not None for name in (b"a", b"b", b"c", b"d")] == [True, False, True, True]
    assert (cache.bytes, cache.hits, cache.misses, cache.hit_rate) == (3000, 4, 1, 0.8)


def test_put__of_more_than_the_bound_leaves_the_rest() -> None:
    cache = TransitionCache(max_bytes=3000)
    cache.put(*entry("a", 1000))
    cache.put(*entry("b", 3001))
    assert cache.get(b"a") is not None
    assert cache.get(b"b") is None
    assert cache.bytes == 1000


def test_put__twice_counts_once() -> None:
    cache = TransitionCache()
    cache.put(*entry("a", 1000))
    cache.put(*entry("a", 1000))
    assert cache.bytes == 1000


def test_keep__is_bounded_in_number_and_bytes() -> None:
    cache = TransitionCache(max_bytes=10_000)
    for number in range(KEPT_MODULES + 10):
        cache.keep(b"%d" % number, FakeModule(), 1)
    assert cache.module(b"9") is None
    assert cache.module(b"10") is not None
    for number in range(20):
        cache.keep(b"large%d" % number, FakeModule(), 1000)
    assert [cache.module(b"large%d" % number) is not None for number in range(20)] == [False] * 10 + [True] * 10


def test_module__forgets_what_is_lost() -> None:
    cache = TransitionCache(max_bytes=100)
    module = FakeModule()
    cache.keep(b"a", module, 100)
    module.ended = True
    assert cache.module(b"a") is None
    cache.keep(b"b", FakeModule(), 100)
    assert cache.module(b"b") is not None


def test_clear__forgets_everything() -> None:
    cache = TransitionCache()
    cache.put(*entry("a", 1000))
    cache.keep(b"a", FakeModule(), 1)
    cache.get(b"a")
    cache.clear()
    assert (cache.bytes, cache.hits, cache.misses) == (0, 0, 0)
    assert cache.get(b"a") is None
    assert cache.module(b"a") is None


def test_cache__is_pickled_empty(make_env) -> None:
    cache = TransitionCache(max_bytes=1234)
    cache.put(*entry("a", 300))
    copy = pickle.loads(pickle.dumps(cache))
    assert (copy.max_bytes, copy.bytes) == (1234, 0)
    env = pickle.loads(pickle.dumps(make_env(cache=cache, budget=3)))
    assert env.reset(seed=0)[1]["passes_left"] == 3
    env.close()


@pytest.mark.parametrize("isolation", ["process", "none"])
def test_session__runs_a_pass_once_and_then_remembers(isolation) -> None:
    cache = TransitionCache()
    with (
        open_session(cache=cache, isolation=isolation) as first,
        open_session(cache=cache, isolation=isolation) as second,
    ):
        results = [first.run(item) for item in FEW]
        assert cache.hits == 0
        again = [second.run(item) for item in FEW]
        assert cache.hits == len(FEW)
        assert [result.changed for result in again] == [result.changed for result in results]
        assert all(result.seconds == 0.0 for result in again)
        assert state_of(second) == state_of(first)
        assert second.ir() == first.ir()
        assert second.text_size() == first.text_size()


def test_session__goes_on_from_a_kept_ancestor(monkeypatch) -> None:
    cache = TransitionCache()
    with open_session(cache=cache) as scout:
        for item in FEW:
            scout.run(item)
    with open_session(cache=cache) as walker:
        for item in FEW:
            walker.run(item)
        walker.run("sink")  # a miss after a row of hits leaves a module behind
    monkeypatch.setattr(
        session_module.CompilerSession, "_replay", lambda *_: pytest.fail("the kept module needs no replay")
    )
    with open_session(cache=cache) as follower, open_session() as plain:
        for item in [*FEW, "reassociate"]:
            follower.run(item)
            plain.run(item)
        assert state_of(follower) == state_of(plain)


@pytest.mark.parametrize("isolation", ["process", "none"])
def test_refused_pipeline__after_remembered_passes_changes_nothing(isolation) -> None:
    cache = TransitionCache()
    with open_session(cache=cache, isolation=isolation) as scout:
        for item in FEW[:3]:
            scout.run(item)
    with open_session(cache=cache, isolation=isolation) as session, open_session(isolation=isolation) as plain:
        for item in FEW[:3]:
            session.run(item)
        with pytest.raises(session_module.PassFailedError, match="pipeline 'no-such-pass': unknown pass name"):
            session.run("no-such-pass")
        session.run("gvn")
        for item in [*FEW[:3], "gvn"]:
            plain.run(item)
        assert state_of(session) == state_of(plain)
        assert session.ir() == plain.ir()


def test_sessions_of_several_threads__share_a_cache_exactly() -> None:
    cache = TransitionCache()
    lists = [np.random.default_rng(seed % 3).choice(FEW, 30).tolist() for seed in range(8)]

    def work(items: list[str], shared: TransitionCache | None) -> list[tuple]:
        with open_session(cache=shared) as session:
            return [(session.run(item).changed, *state_of(session)) for item in items]

    with ThreadPoolExecutor(4) as pool:
        cached = list(pool.map(lambda items: work(items, cache), lists))
    assert cached == [work(items, None) for items in lists]
    assert cache.hits > 0


STEPS = 10_000 if os.environ.get("DOJO_FULL_TESTS") else 600


@pytest.mark.parametrize("isolation", ["process", "none"])
@pytest.mark.parametrize("passes", [pytest.param(FEW, id="few"), pytest.param("all", id="all")])
def test_random_steps__are_the_same_with_and_without(make_env, passes, isolation) -> None:
    # so small that results are forgotten all the time; few actions, so that many are found nevertheless
    cache = TransitionCache(max_bytes=200_000)
    settings = {"programs": PROGRAMS, "observation": OBSERVATIONS, "passes": passes, "isolation": isolation}
    cached, plain = make_env(cache=cache, budget=25, **settings), make_env(cache=False, budget=25, **settings)
    draw = np.random.default_rng(7)
    actions = len(PASSES if passes == "all" else FEW)
    for step in range(STEPS):
        if step % 25 == 0:
            options = {"program": PROGRAMS[int(draw.integers(len(PROGRAMS)))]}
            results = [env.reset(seed=step, options=options) for env in (cached, plain)]
        else:
            action = int(draw.integers(actions))
            results = [env.step(action) for env in (cached, plain)]
        (one, *outcome, info), (other, *expected, expected_info) = results
        assert outcome == expected
        for name in OBSERVATIONS:
            np.testing.assert_array_equal(one[name], other[name])
        np.testing.assert_array_equal(info.pop("action_mask"), expected_info.pop("action_mask"))
        assert info == expected_info
        assert state_of(cached.session) == state_of(plain.session)
        if step % 97 == 0:
            fork = cached.session.fork()
            assert fork.run("gvn").changed == plain.session.fork().run("gvn").changed
            assert fork.text_size() > 0
    assert cache.bytes <= 200_000
    assert cache.hits > 0
