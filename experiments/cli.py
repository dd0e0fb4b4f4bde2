"""The command ``dojo``."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from compiler_dojo.envs.errors import DojoError, InvalidConfigError
from compiler_dojo.experiments import loop_cli, programs_cli
from compiler_dojo.experiments.terminal import AsJson, console, print_json

app = typer.Typer(
    name="dojo",
    help="Environments in which agents learn to compile, and the agents that learn in them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(programs_cli.app, name="programs")
app.command("evaluate-loops")(loop_cli.evaluate_loops)


def main() -> None:
    """Run the command; an expected error is one message on standard error and exit status 1."""
    try:
        app()
    except DojoError as error:
        Console(stderr=True).print(
            f"[red]{type(error).__name__}[/red]: {escape(str(error))}", highlight=False, soft_wrap=True
        )
        sys.exit(1)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Show which libLLVM, clang and packages are in use, what is missing, and the command that brings it.

    Example: `dojo doctor`
    """
    from compiler_dojo.experiments.doctor import examine

    findings = list(examine())
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        table = Table("", "found", "to get it")
        for finding in findings:
            missing = f"[{'red' if finding.required else 'yellow'}]missing[/]"
            table.add_row(finding.subject, finding.found or missing, "" if finding.found else escape(finding.remedy))
        console.print(table)
    if any(finding.required and finding.found is None for finding in findings):
        raise typer.Exit(1)


@app.command()
def passes(
    prove: Annotated[
        str | None, typer.Option(help="Run every pass on these programs and check what they print.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the action table; with --prove, run each pass on programs, from O0 and after -Oz.

    A proof fails when LLVM refuses a pass, the module does not verify, or the program prints something else.

    Examples: `dojo passes`, `dojo passes --prove bundled/crypto`
    """
    from compiler_dojo.envs.llvm.passes import PASS_SETS, PASSES
    from compiler_dojo.envs.programs import load_programs
    from compiler_dojo.experiments.proof import prove as run_proof

    if prove is None:
        if as_json:
            print_json([{**item._asdict(), "pipeline": item.pipeline} for item in PASSES])
            return
        table = Table("action", "pass", "scope", "in size", title="`opt -passes=` text of each action", box=SIMPLE_HEAD)
        for index, item in enumerate(PASSES):
            table.add_row(str(index), escape(item.name), item.scope, "yes" if item.name in PASS_SETS["size"] else "")
        console.print(table)
        return
    programs = list(load_programs(prove))
    progress = track(
        run_proof(PASSES, programs), "proving", len(programs), console=Console(stderr=True), transient=True
    )
    proofs = list(progress)
    problems = [(proof.program, *problem) for proof in proofs for problem in proof.problems]
    idle = [item.name for item in PASSES if not any(proof.changed[item.name] for proof in proofs)]
    executions = sum(proof.executions for proof in proofs)
    if as_json:
        print_json({"proofs": [proof._asdict() for proof in proofs], "idle": idle})
    else:
        for problem in problems:
            console.print(escape(" ".join(problem)), style="red")
        console.print(f"changed nothing anywhere: {escape(', '.join(idle)) or 'none'}")
        console.print(
            f"{len(PASSES)} passes on {len(programs)} programs, from O0 and after -Oz: "
            f"{executions} distinct modules run, {len(problems)} problems"
        )
    if problems:
        raise typer.Exit(1)


@app.command()
def train(
    preset: Annotated[str, typer.Option(help="A preset by name (demo, debug), or a YAML file.")] = "demo",
    out: Annotated[Path, typer.Option(help="The run folder.")] = Path("runs/demo"),
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting, as in --set learner.gamma=0.9.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on with an interrupted run.")] = False,
) -> None:
    """Train an agent and evaluate it on held-out programs, or on held-out loop nests with a preset `loops-...`.

    For pass ordering: train PPO, find the best single sequence, evaluate both and draw the result.

    Examples: `dojo train --preset demo --out runs/demo`, `dojo train --out runs/long --set seconds=3600`, and after an
    interruption `dojo train --out runs/long --set seconds=3600 --resume`;
    `dojo train --preset loops-looptune --out runs/loops`
    """
    from compiler_dojo.experiments.config import TrainConfig, from_mapping, read_preset

    values = read_preset(preset, settings or [])
    if values.get("environment") == "loops":
        from compiler_dojo.experiments.loop_config import LoopTrainConfig
        from compiler_dojo.experiments.loop_training import train as train_loops

        train_loops(from_mapping(LoopTrainConfig, values), out, console, resume)
        return
    from compiler_dojo.experiments.training import train as train_passes

    train_passes(from_mapping(TrainConfig, values), out, console, resume)


@app.command()
def evaluate(
    agent: Annotated[str, typer.Option(help="A run folder, a policy folder, a sequence.json, `random` or `-Oz`.")],
    programs: Annotated[str, typer.Option(help="A set, a file or a glob.")] = "bundled/test",
    out: Annotated[Path | None, typer.Option(help="Folder for records and manifest.")] = None,
    seed: Annotated[int, typer.Option(help="First seed.")] = 0,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes per program.")] = 1,
    stochastic: Annotated[bool, typer.Option(help="Draw actions instead of taking the most likely.")] = False,
    settings: Annotated[list[str] | None, typer.Option("--set", help="For `random`: environment settings.")] = None,
    as_json: AsJson = False,
) -> None:
    """Roll out an agent on programs and compare it with clang -Oz.

    Examples: `dojo evaluate --agent runs/demo`, `dojo evaluate --agent random --episodes 10`,
    `dojo evaluate --agent runs/demo --programs 'src/*.c' --out runs/mine`
    """
    from compiler_dojo.experiments.agents import find_agent
    from compiler_dojo.experiments.config import to_mapping
    from compiler_dojo.experiments.evaluation import evaluate as roll_out
    from compiler_dojo.experiments.evaluation import program_table, rows_as_mappings, rows_of, summary_table
    from compiler_dojo.experiments.records import MANIFEST, RECORDS, make_manifest, write_records

    contender = find_agent(agent, episodes, settings or [])
    if stochastic:
        contender = contender._replace(deterministic=False)
    if out is not None:
        if (out / RECORDS).exists():
            raise InvalidConfigError(f"{out / RECORDS} exists: give another --out")
        out.mkdir(parents=True, exist_ok=True)
        manifest = make_manifest({"agent": agent, "programs": programs, "seed": seed, "env": to_mapping(contender.env)})
        (out / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    records = []
    rollouts = roll_out(contender, programs, seed)
    for record in track(rollouts, "evaluating", console=Console(stderr=True), transient=True):
        records.append(record)
        if out is not None:
            write_records(out / RECORDS, [record])
    rows = rows_of(records)
    if as_json:
        print_json({"rows": rows_as_mappings(rows), "records": [dataclasses.asdict(record) for record in records]})
        return
    if episodes == 1:
        console.print(program_table(records))
    console.print(summary_table(rows, programs))


@app.command()
def validate(
    run: Annotated[Path, typer.Argument(help="A run folder or a records.jsonl file.")], as_json: AsJson = False
) -> None:
    """Replay every record: costs must agree exactly, modules verify, and programs print what their -O0 builds print.

    Programs run in a sandbox. Each also runs once under AddressSanitizer and UndefinedBehaviorSanitizer where its
    source is known: undefined behaviour is reported as the program's, and not blamed on the compiler.

    Example: `dojo validate runs/demo`
    """
    from compiler_dojo.experiments.records import RECORDS, read_records
    from compiler_dojo.experiments.validation import Validator, summarize, summary_lines

    records = list(read_records(run / RECORDS if run.is_dir() else run))
    verdicts = Validator().validate(records)
    progress = track(verdicts, "validating", total=len(records), console=Console(stderr=True), transient=True)
    results = list(progress)
    summary = summarize(results)
    if as_json:
        print_json(summary)
    else:
        for line, style in summary_lines(summary):
            console.print(escape(line), style=style)
    if summary["problems"]:
        raise typer.Exit(1)


@app.command()
def fuzz(
    steps: Annotated[int, typer.Option(min=1, help="Passes to run, not counting those of oracles.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of all random choices.")] = 0,
    programs: Annotated[str, typer.Option(help="A set, a file or a glob to start from.")] = "bundled",
    out: Annotated[Path, typer.Option(help="The campaign's folder.")] = Path("runs/fuzz"),
    random_programs: Annotated[bool, typer.Option(help="Also csmith's and llvm-stress's, where installed.")] = True,
    resume: Annotated[bool, typer.Option(help="Go on with an interrupted campaign, or with more steps.")] = False,
    as_json: AsJson = False,
) -> None:
    """Mutate programs and pass lists jointly, and check each pair for crashes, invalid modules, wrong output, and
    results that depend on how they were reached.

    The exit status is 1 when something was found; `dojo reduce` makes its reproducers smaller.

    Examples: `dojo fuzz --steps 2000 --out runs/fuzz`, and to go on `dojo fuzz --steps 100000 --out runs/fuzz --resume`
    """
    from rich.progress import Progress

    from compiler_dojo.experiments.fuzz_report import summary, tables
    from compiler_dojo.experiments.fuzzing import Campaign, FuzzConfig

    config = FuzzConfig(steps=steps, seed=seed, programs=programs, random_programs=random_programs)
    campaign = Campaign(config, out, resume)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("fuzzing", total=steps)
        for state in campaign.run():
            found = sum(state.found.values())
            progress.update(task, completed=state.steps, description=f"{len(campaign.corpus)} kept, {found} found")
    figures = summary(campaign)
    if as_json:
        print_json(figures)
    else:
        for table in tables(figures, f"findings in {out}"):
            console.print(table)
    if figures["findings"]:
        raise typer.Exit(1)


@app.command()
def reduce(
    reproducer: Annotated[Path, typer.Argument(help="The folder that an error message names.")],
    out: Annotated[Path | None, typer.Option(help="Where the smaller one goes; by default beside the other.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="For the passes, and again for the program.")] = 300.0,
    as_json: AsJson = False,
) -> None:
    """Make a reproducer of a crash, a hang or a fuzzing finding smaller: fewer passes, then a smaller program.

    The original stays as it is. The exit status is 1 when it no longer fails.

    Example: `dojo reduce ~/.local/state/compiler-dojo/crashes/CompilerCrashedError-5ed00c959704febc`
    """
    from compiler_dojo.experiments.reduction import reduce_reproducer

    with Console(stderr=True).status("reducing"):
        done = reduce_reproducer(reproducer, out, seconds)
    if as_json:
        fields = {"folder": str(done.folder), "before": done.before._asdict(), "after": done.after._asdict()}
        print_json({**fields, "skipped": done.skipped, "command": done.command})
        return
    if done.skipped is not None:
        console.print(f"the program was not made smaller: {escape(done.skipped)}", soft_wrap=True)
    before, after = done.before, done.after
    console.print(
        f"instructions {before.instructions} -> {after.instructions}, passes {before.passes} -> {after.passes}: "
        f"{escape(str(done.folder))}",
        soft_wrap=True,
    )
    if done.command is not None:
        console.print(escape(done.command), soft_wrap=True, highlight=False)


@app.command()
def tune(
    workload: Annotated[
        list[str], typer.Argument(help='The contraction and its sizes, such as "mk,kn->mn" m=256 k=256 n=256.')
    ],
    dtype: Annotated[str | None, typer.Option(help="float32 (the default) or float64.")] = None,
    target: Annotated[
        str, typer.Option(help="The CPU to generate code for: native, generic, x86-64-v3, ...")
    ] = "native",
    threads: Annotated[int, typer.Option(min=1, help="That compute together at most.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.01, help="For compiling and measuring candidates.")] = 0.5,
    measurements: Annotated[int, typer.Option(min=1, help="Candidates that are measured at most.")] = 20,
    agent: Annotated[
        str, typer.Option(help="Who proposes candidates: heuristics, script, start, a policy or run folder.")
    ] = "heuristics",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for a shared library, its C header, and more.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the C function and of the files.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Tune even if an earlier run did.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tune the loops of a tensor contraction for this machine, and write the kernel as a C library.

    What was found is kept in the cache folder, by workload and CPU; the next run only compiles it.

    Examples: `dojo tune "mk,kn->mn" m=256 k=256 n=256`, `dojo tune "mk,kn->mn|bias(n),relu" m=64 k=512 n=100 -o out`,
    `dojo tune "(h+r)(w+s)c,rsck->hwk" h=56 w=56 r=3 s=3 c=64 k=64 --threads 2 --seconds 2`
    """
    from rich.progress import Progress

    from compiler_dojo.experiments.loop_tuning import read_workload, tune_workload

    parsed = read_workload(workload, dtype)
    # drawn between measurements, never during one
    with Progress(console=Console(stderr=True), transient=True, auto_refresh=False) as progress:
        task = progress.add_task("tuning", total=measurements)

        def advance(count: int, gflops: float) -> None:
            progress.update(task, completed=count, description=f"best {gflops:.1f} GFLOP/s", refresh=True)

        found = tune_workload(parsed, target, threads, seconds, measurements, agent, out, name, force, advance)
    if as_json:
        print_json(found.as_mapping())
        return
    for line in found.lines():
        console.print(line, soft_wrap=True, highlight=False, markup=False, emoji=False)  # 0:100: is no emoji


bench = typer.Typer(help="Measure speed.", no_args_is_help=True)
app.add_typer(bench, name="bench")


@bench.command("env")
def bench_env(
    repeats: Annotated[int, typer.Option(min=1, help="Episodes per program, and rounds of the vector tests.")] = 5,
    soak: Annotated[int, typer.Option(min=20, help="Random steps of the memory test.")] = 20_000,
    agent: Annotated[str, typer.Option(help="The trained policy that the cache is measured with.")] = "demo",
    peer: Annotated[bool, typer.Option("--peer", help="Show CompilerGym's times beside ours.")] = False,
    peer_python: Annotated[
        Path | None, typer.Option(help="A Python 3.8 to 3.10 with compiler_gym, to measure it now.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Time reset, step, fork and graphs next to a bare C loop, many environments at once, the cache, and memory.

    Everything that is compared is measured in turn, in one run.

    Examples: `dojo bench env --repeats 10`, `dojo bench env --peer`,
    `dojo bench env --peer --peer-python peer/bin/python`
    """
    from rich.progress import Progress

    from compiler_dojo.experiments import bench as single
    from compiler_dojo.experiments import bench_report, throughput
    from compiler_dojo.experiments.agents import find_agent
    from compiler_dojo.experiments.peer import PeerFailure, PeerMeasurement, measure_peer

    contender = find_agent(agent, 1, [])
    sizes: list[single.Measurement] = []
    theirs: list[PeerMeasurement | PeerFailure] = []
    with Progress(console=Console(stderr=True), transient=True) as progress:

        def task(name: str, total: int) -> Callable[[], None]:
            number = progress.add_task(name, total=total)
            return lambda: progress.advance(number)

        advance = task("one environment", len(single.PROGRAMS))
        for uri in single.PROGRAMS:
            sizes.append(single.measure(uri, repeats))
            if peer_python is not None:
                theirs += measure_peer(peer_python, [uri], repeats)
            advance()
        results = bench_report.Results(
            sizes=sizes,
            throughput=throughput.measure_throughput(repeats, task("16 environments", repeats)),
            drawn=throughput.measure_cache(contender, 4 * repeats, False, task("cache, drawing", 4 * repeats)),
            likeliest=throughput.measure_cache(contender, 4 * repeats, True, task("cache, likeliest", 4 * repeats)),
            memory=throughput.measure_memory(soak, task("memory", 20)),
        )
    if as_json:
        values = {
            "sizes": [dataclasses.asdict(size) for size in sizes],
            "targets": [target._asdict() for target in bench_report.targets(results)],
            "throughput": dataclasses.asdict(results.throughput),
            "cache": {"drawn": dataclasses.asdict(results.drawn), "likeliest": dataclasses.asdict(results.likeliest)},
            "memory": dataclasses.asdict(results.memory),
            "peer": [dataclasses.asdict(item) for item in theirs],
        }
        print_json(values)
        return
    bench_report.report_sizes(sizes, console)
    if peer or theirs:
        bench_report.report_peer(sizes, theirs or None, console)
    bench_report.report_targets(results, console)


@bench.command("programs")
def bench_programs(
    count: Annotated[int, typer.Option(min=1, help="Programs to store.")] = 20_000,
    folder: Annotated[Path | None, typer.Option(help="Where to store them; by default a temporary folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Time a stored set: writing it, opening it, and reading its programs one by one, in shuffled order and in order.

    Examples: `dojo bench programs`, `dojo bench programs --count 2000 --json`
    """
    import tempfile

    from compiler_dojo.envs.programs import load_programs
    from compiler_dojo.experiments.bench_programs import measure_reading

    with (
        tempfile.TemporaryDirectory(prefix="dojo-", dir=folder) as temporary,
        Console(stderr=True).status(f"storing and reading {count:,} programs"),
    ):
        speed = measure_reading(Path(temporary), load_programs("bundled"), count)
    if as_json:
        print_json(dataclasses.asdict(speed))
    else:
        console.print(str(speed), soft_wrap=True, highlight=False)


@bench.command("loops")
def bench_loops(
    sets: Annotated[
        list[str] | None,
        typer.Option(help="A set such as looptune:test25 or large, or 'mk,kn->mn m=64 k=64 n=64'. May be repeated."),
    ] = None,
    peers: Annotated[str, typer.Option(help="Of numpy, sgemm, gcc, tvm, metaschedule; by commas.")] = "numpy,sgemm,gcc",
    agent: Annotated[
        str, typer.Option(help="Our own side: of start, script, looptune, full, tune, random, beam, ...; by commas.")
    ] = "start,script,full",
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; in each every peer is timed once.")] = 7,
    min_seconds: Annotated[float, typer.Option(min=0.0, help="Least length of a sample.")] = 0.02,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many workloads of each set.")] = None,
    target: Annotated[str, typer.Option(help="native, or a level such as x86-64-v3, for gcc, TVM and us.")] = "native",
    threads: Annotated[int, typer.Option(min=1, help="With 2 our own side is also timed in two threads.")] = 1,
    tvm_python: Annotated[Path | None, typer.Option(help="A Python that has TVM 0.27.")] = None,
    tvm_cache: Annotated[Path | None, typer.Option(help="JSON file that keeps what MetaSchedule found.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything to this file.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw a roofline to this PNG file.")] = None,
) -> None:
    """Time kernels of our own and of others for the same tensor contractions: checked first, then in turn on one CPU.

    Examples: `dojo bench loops --sets looptune:test25 --picture roofline.png`,
    `dojo bench loops --sets large --peers numpy,metaschedule --tvm-python tvm/bin/python --tvm-cache tvm.json`
    """
    from rich.progress import Progress

    from compiler_dojo.experiments.bench_loops import Settings, run
    from compiler_dojo.experiments.bench_loops_report import aims, report
    from compiler_dojo.experiments.loop_choice import choose_own, choose_peers, choose_workloads
    from compiler_dojo.experiments.roofline import draw_roofline

    groups = choose_workloads(sets or ["looptune:test25"], limit)
    own = choose_own(agent, target, threads)
    others = choose_peers(peers, target, tvm_python, tvm_cache)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("timing", total=sum(map(len, groups.values())))
        settings = Settings(repeats=repeats, min_seconds=min_seconds)
        results = run(groups, own, others, settings, target, lambda: progress.advance(task))
    report(results, console)
    if json_file is not None:
        values = {**dataclasses.asdict(results), "aims": [aim._asdict() for aim in aims(results)]}
        json_file.write_text(json.dumps(values, indent=1) + "\n")
    if picture is not None:
        draw_roofline(results, picture)


if __name__ == "__main__":
    main()
