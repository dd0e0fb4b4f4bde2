"""The commands of ``dojo`` for loop nests."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from compiler_dojo.envs.errors import InvalidConfigError
from compiler_dojo.experiments.terminal import AsJson, console, print_json


def evaluate_loops(
    agents: Annotated[
        list[str], typer.Option("--agent", help="`script`, a search, a shipped policy, a run or policy folder; repeat.")
    ],
    workloads: Annotated[str, typer.Option(help="Sets, or one workload with its sizes.")] = "looptune:test25",
    target: Annotated[str | None, typer.Option(help="By default what the first agent was trained for.")] = None,
    candidates: Annotated[int, typer.Option(min=1, help="Nests that a policy may measure; 1: none.")] = 1,
    seconds: Annotated[float | None, typer.Option(min=0, help="Per workload: for searches and candidates.")] = None,
    measurements: Annotated[int | None, typer.Option(min=1, help="For searches, per workload.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="For searches: as in --set actions=full.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for records and manifest.")] = None,
    seed: Annotated[int, typer.Option(help="Of all agents.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Let agents schedule loop nests, and time what they chose in turn with the start nest.

    A policy does one rollout, without measuring, unless it has candidates to choose from. Searches (random, greedy,
    greedy-2, beam, beam-depth, beam-64, evolution) measure every nest they try.

    Examples: `dojo evaluate-loops --agent loops-looptune-avx2 --agent script --target x86-64-v3`,
    `dojo evaluate-loops --agent loops-full-avx512 --candidates 20 --target native`,
    `dojo evaluate-loops --agent random --agent beam-64 --seconds 5 --set actions=full`
    """
    from compiler_dojo.envs.loops.workloads import load_workloads
    from compiler_dojo.experiments.config import apply_overrides, from_mapping, to_mapping
    from compiler_dojo.experiments.loop_agents import find_loop_agent
    from compiler_dojo.experiments.loop_config import LoopEnvConfig
    from compiler_dojo.experiments.loop_evaluation import (
        MeasuringSettings,
        evaluate,
        rows_as_mappings,
        rows_of,
        summary_table,
        workload_table,
        write_loop_records,
    )
    from compiler_dojo.experiments.records import MANIFEST, RECORDS, make_manifest

    env = from_mapping(LoopEnvConfig, apply_overrides({}, settings or []), "env.")
    contenders = [find_loop_agent(name, env, target, candidates, seconds, measurements) for name in agents]
    target = target or contenders[0].env.target
    found, timing = load_workloads(workloads), MeasuringSettings()
    if out is not None:
        if (out / RECORDS).exists():
            raise InvalidConfigError(f"{out / RECORDS} exists: give another --out")
        out.mkdir(parents=True, exist_ok=True)
        about = {"agents": agents, "workloads": workloads, "target": target, "seed": seed, "timing": to_mapping(timing)}
        (out / MANIFEST).write_text(json.dumps(make_manifest(about), indent=1) + "\n")
    records = []
    rounds = evaluate(contenders, found, target, timing, seed)
    for group in track(rounds, "evaluating", len(found), console=Console(stderr=True), transient=True):
        records += group
        if out is not None:
            write_loop_records(out / RECORDS, group)
    rows = rows_of(records)
    if as_json:
        values = {"target": target, "timing": to_mapping(timing), "rows": rows_as_mappings(rows)}
        print_json({**values, "records": [dataclasses.asdict(record) for record in records]})
        return
    console.print(workload_table(records))
    console.print(summary_table(rows, workloads, records))
