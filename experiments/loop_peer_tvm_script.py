"""Compiles, tunes and times with TVM; a script of its own, run by a Python that has TVM but not us.

Each line of standard input is a JSON request, each line of standard output its answer. ``prepare`` builds a workload,
with MetaSchedule if ``trials`` is positive or a ``trace`` of an earlier tuning is given, evaluates it once on the
operands in ``folder`` (``0.npy`` is the output) and writes the result back. ``sample`` times it by TVM's own loop in
C++. An answer with ``error`` says why a request failed.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import time
from typing import Any, TextIO

import numpy as np

TUNING_PROTOCOL = {"number": 3, "repeat": 1, "min_repeat_ms": 20}
"""How MetaSchedule times a candidate; the time is TVM's default, less the wait between candidates."""


class Server:
    """Kernels that were prepared, by number."""

    def __init__(self) -> None:
        self.tvm = importlib.import_module("tvm")
        self.meta_schedule = importlib.import_module("tvm.s_tir.meta_schedule")
        self.kernels: list[tuple[Any, list[Any], Any]] = []

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request asks for."""
        if request["do"] == "version":
            return {"version": self.tvm.__version__}
        if request["do"] == "sample":
            return {"seconds": self.sample(request["kernel"], request["min_seconds"])}
        return self.prepare(request)

    def prepare(self, request: dict[str, Any]) -> dict[str, Any]:
        """Build a kernel and evaluate it once."""
        start = time.perf_counter()
        module = self.tvm.IRModule({"main": define(self.tvm, request["workload"])})
        target = self.tvm.target.Target({"kind": "llvm", "mcpu": request["mcpu"], "num-cores": 1})
        trace = request["trace"]
        if trace is None and request["trials"]:
            trace = self.tune(module, target, request["trials"])
        if trace is not None:
            schedule = self.tvm.s_tir.Schedule(module)
            self.tvm.s_tir.schedule.Trace.apply_json_to_schedule(trace, schedule)
            module = schedule.mod
        built = self.tvm.compile(module, target=target)
        seconds = time.perf_counter() - start
        count = len(request["workload"]["operands"])
        paths = [os.path.join(request["folder"], f"{number}.npy") for number in range(count)]
        arrays = [self.tvm.runtime.tensor(np.load(path)) for path in paths]
        # TVM takes the output last
        arguments = [*arrays[1:], arrays[0]]
        built["main"](*arguments)
        np.save(paths[0], arrays[0].numpy())
        self.kernels.append((built, arguments, None))
        return {"kernel": len(self.kernels) - 1, "seconds": seconds, "trace": trace}

    def tune(self, module: Any, target: Any, trials: int) -> Any:
        """The best trace that MetaSchedule finds, building and timing candidates in this process."""
        callbacks = self.meta_schedule.measure_callback
        builder, runner = in_process(self.tvm, self.meta_schedule)
        with tempfile.TemporaryDirectory(prefix="dojo-tvm-") as folder:
            database = self.meta_schedule.tune_tir(
                mod=module,
                target=target,
                work_dir=folder,
                max_trials_global=trials,
                num_trials_per_iter=min(trials, 16),
                builder=builder,
                runner=runner,
                # the default ones also delete the file of each candidate, and here there are no files
                measure_callbacks=[callbacks.AddToDatabase(), callbacks.UpdateCostModel()],
                num_tuning_cores=1,
                seed=1,
            )
            records = [record for record in database.get_all_tuning_records() if record.run_secs]
            best = min(records, key=lambda record: float(min(float(value) for value in record.run_secs)))
            # the record's JSON is plain data: the trace and its decisions
            return best.as_json()[0]

    def sample(self, number: int, min_seconds: float) -> float:
        """Mean seconds of as many evaluations as fill the time."""
        built, arguments, _ = self.kernels[number]
        evaluator = built.mod.time_evaluator("main", self.tvm.cpu(0), number=1, repeat=1)
        once = max(evaluator(*arguments).mean, 1e-9)
        count = int(1.1 * min_seconds / once) + 1
        evaluator = built.mod.time_evaluator("main", self.tvm.cpu(0), number=count, repeat=1)
        return float(evaluator(*arguments).mean)


def define(tvm: Any, workload: dict[str, Any]) -> Any:
    """The workload in TVM's tensor expressions."""
    expressions = tvm.te  # codespell:ignore te
    dtype, sizes = workload["dtype"], dict(workload["axes"])
    operands = workload["operands"]
    places = [expressions.placeholder(item["shape"], dtype, name=item["name"]) for item in operands[1:]]
    inputs = list(zip(operands[1:], places))[: workload["inputs"]]  # noqa: B905  # of equal lengths
    output = [index[0][0] for index in operands[0]["indices"]]
    reduced = {axis: expressions.reduce_axis((0, size), axis) for axis, size in sizes.items() if axis not in output}
    shape = [sizes[axis] for axis in output]

    def read(item: dict[str, Any], place: Any, axes: dict[str, Any]) -> Any:
        return place[tuple(sum(axes[axis] * factor for axis, factor in index) for index in item["indices"])]

    def body(*variables: Any) -> Any:
        axes = {**dict(zip(output, variables)), **reduced}  # noqa: B905
        product = read(*inputs[0], axes)
        for item, place in inputs[1:]:
            product = product * read(item, place, axes)
        return expressions.sum(product, axis=list(reduced.values())) if reduced else product

    result = expressions.compute(shape, body, name="C")
    if workload["bias"]:
        total = result
        result = expressions.compute(
            shape,
            lambda *v: total[v] + read(operands[-1], places[-1], dict(zip(output, v))),  # noqa: B905
            name="biased",
        )
    if workload["relu"]:
        before = result
        result = expressions.compute(
            shape, lambda *v: expressions.max(before[v], tvm.tirx.const(0, dtype)), name="relu"
        )
    return expressions.create_prim_func([*places, result])


def in_process(tvm: Any, meta_schedule: Any) -> tuple[Any, Any]:
    """A builder and a runner that use no other process: the default ones time out where the machine is busy."""
    derived_object = importlib.import_module("tvm.ir.utils").derived_object
    built: dict[str, Any] = {}

    @derived_object
    class Builder(meta_schedule.builder.PyBuilder):  # type: ignore[misc]
        def build(self, build_inputs: Any) -> Any:
            return [self.one(item) for item in build_inputs]

        def one(self, item: Any) -> Any:
            try:
                name = str(len(built))
                built[name] = tvm.compile(item.mod, target=item.target)
            except Exception as error:  # candidates that do not compile are part of the search
                return meta_schedule.builder.BuilderResult(None, f"{type(error).__name__}: {error}")
            return meta_schedule.builder.BuilderResult(name, None)

    @derived_object
    class Future(meta_schedule.runner.PyRunnerFuture):  # type: ignore[misc]
        def __init__(self, seconds: Any, error: Any) -> None:
            super().__init__()
            self.outcome = meta_schedule.runner.RunnerResult(seconds, error)

        def done(self) -> bool:
            return True

        def result(self) -> Any:
            return self.outcome

    @derived_object
    class Runner(meta_schedule.runner.PyRunner):  # type: ignore[misc]
        def run(self, runner_inputs: Any) -> Any:
            return [self.one(item) for item in runner_inputs]

        def one(self, item: Any) -> Any:
            try:
                arguments = [
                    tvm.runtime.tensor(np.ones([int(size) for size in info.shape], str(info.dtype)))
                    for info in item.args_info
                ]
                executable = built.pop(str(item.artifact_path))
                evaluator = executable.mod.time_evaluator("main", tvm.cpu(0), **TUNING_PROTOCOL)
                return Future([float(value) for value in evaluator(*arguments).results], None)
            except Exception as error:
                return Future(None, f"{type(error).__name__}: {error}")

    return Builder(), Runner()


def main() -> None:
    """Answer until standard input ends."""
    answers: TextIO = os.fdopen(os.dup(1), "w")
    # whatever a library prints must not come between the answers
    os.dup2(2, 1)
    server = None
    for line in sys.stdin:
        try:
            server = server or Server()
            answer = server.answer(json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
