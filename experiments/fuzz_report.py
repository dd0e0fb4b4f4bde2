"""What a campaign did and found, as tables and as plain data."""

from __future__ import annotations

import collections
import json
from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from compiler_dojo.experiments.fuzzing import Campaign


def summary(campaign: Campaign) -> dict[str, Any]:
    """The figures of a campaign, ready for JSON."""
    state = campaign.state
    findings = campaign.findings.read()
    by_class: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
    for finding in findings:
        by_class[json.dumps([finding["oracle"], finding["pass"], finding["kind"]])].append(finding)
    return {
        "steps": state.steps,
        "pairs": state.pairs,
        "kept": len(campaign.corpus),
        "buckets": len(campaign.corpus.covered),
        "seconds": round(state.seconds, 1),
        "checks": {**state.checks, "crash": state.pairs, "verifier": state.pairs, "transition": state.pairs},
        "random_programs": campaign.generators,
        "findings": [_class_row(json.loads(key), group, state.ran) for key, group in by_class.items()],
    }


def _class_row(key: Sequence[str], findings: Sequence[dict[str, Any]], ran: dict[str, int]) -> dict[str, Any]:
    oracle, name, kind = key
    minimal = [finding for finding in findings if "minimal" in finding]
    shortest = min(minimal, key=lambda finding: len(finding["minimal"]), default=findings[0])
    sources = collections.Counter(finding["program"].split("://")[0] for finding in findings)
    return {
        "oracle": oracle,
        "pass": name,
        "kind": kind,
        "found": len(findings),
        "ran": ran.get(name, 0),
        "programs": dict(sources),
        "shows_again": bool(minimal),
        "passes": len(shortest.get("minimal", shortest["items"])),
        "reproducer": shortest.get("reproducer"),
    }


def tables(figures: dict[str, Any], out: str) -> list[Table]:
    """The campaign, its oracles, and its findings."""
    overview = Table("steps", "pairs", "pairs kept", "buckets covered", "findings", "seconds", title="fuzzing campaign")
    found = sum(row["found"] for row in figures["findings"])
    values = (figures["steps"], figures["pairs"], figures["kept"], figures["buckets"], found, figures["seconds"])
    overview.add_row(*(str(value) for value in values))
    checks = Table("oracle", "pairs checked", "findings", title="oracles")
    by_oracle = collections.Counter[str]()
    for row in figures["findings"]:
        by_oracle[row["oracle"]] += row["found"]
    for name, count in sorted(figures["checks"].items(), key=lambda item: -item[1]):
        checks.add_row(name, str(count), str(by_oracle[name]))
    findings = Table(
        "oracle", "pass", "kind", "found", "of runs", "programs", "passes", "reproducer", title=escape(out)
    )
    for row in sorted(figures["findings"], key=lambda row: -row["found"]):
        sources = ", ".join(f"{name} {count}" for name, count in row["programs"].items())
        passes = f"{row['passes']}{'' if row['shows_again'] else ' (not again)'}"
        cells = (row["oracle"], row["pass"], row["kind"], row["found"], row["ran"], sources, passes, row["reproducer"])
        findings.add_row(*(escape(str(cell)) for cell in cells))
    return [overview, checks, findings] if figures["findings"] else [overview, checks]
