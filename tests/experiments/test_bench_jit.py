"""The benchmark of the just-in-time compiler prints what it measures."""

import re

from compiler_dojo.envs.loops import measure
from compiler_dojo.envs.loops.jit import Jit
from compiler_dojo.envs.loops.measure import Protocol
from compiler_dojo.envs.loops.targets import find_target
from compiler_dojo.experiments import bench_jit


def test_tile_kernel__has_as_many_operations_as_it_is_said_to() -> None:
    target = find_target()
    ir = bench_jit.tile_kernel(target, rows=6, steps=4)
    assert ir.count("= call") == 48
    assert "define void @kernel" in ir
    assert Jit(target, verify=True).compile(ir).seconds > 0


def test_compile_costs__add_up() -> None:
    empty, tile = bench_jit.compile_costs(find_target(), (48,), repeats=1)
    assert empty.operations == 0
    assert 30 < tile.operations < 60
    assert tile.total == tile.parse + tile.code + tile.link


def test_main__prints_every_figure(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setenv("DOJO_CACHE", str(tmp_path))
    monkeypatch.setattr(measure, "PEAK_PROTOCOL", Protocol(warmup=0, min_seconds=0, repeats=2))
    assert bench_jit.main() == 0
    printed = capsys.readouterr().out
    assert len(re.findall(r"vector operations: +[\d.]+ ms = parse", printed)) % 4 == 0
    assert len(re.findall(r"peak float(?:32|64): [\d.]+ GFLOP/s, two threads", printed)) % 2 == 0
    assert re.search(
        r"empty kernel: [\d.]+ ns, two pinned threads \d+ ns; two threads, 1 ms: [\d.]+ times one", printed
    )
