"""`make bench-zones`: two zones as network namespaces, with real processes; needs root. A table and JSON."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.machine import describe_machine, result_file
from benchmarks.zones import measuring
from tests.namespaces.network import why_no_namespaces
from tests.namespaces.zone_mesh import RATE

MODEL = "resnet50"
SMALL_MODEL = "mlp"
IN_FLIGHT = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of one run")
    parser.add_argument("--rounds", type=int, default=5, help="of throughput, and of lost zones")
    parser.add_argument("--quick", action="store_true", help="short runs, one round")
    parser.add_argument("--out", type=Path, help="JSON file; default: benchmarks/results/<date>-zones.json")
    arguments = parser.parse_args()
    if (why := why_no_namespaces()) is not None:
        raise SystemExit(f"no network namespaces: {why}")
    seconds, num_rounds = (2.0, 1) if arguments.quick else (arguments.seconds, arguments.rounds)
    with measuring.running(MODEL) as mesh:
        spilled = measuring.spill(mesh, MODEL, IN_FLIGHT, seconds, num_rounds)
        shared = [measuring.shares(mesh, MODEL, 1, seconds)]
    with measuring.running(SMALL_MODEL) as mesh:
        shared.append(measuring.shares(mesh, SMALL_MODEL, 1, seconds))
        lost = [measuring.loss(mesh, SMALL_MODEL) for _ in range(num_rounds)]
    results = {
        "machine": describe_machine(),
        "seconds": seconds,
        "rate": RATE,
        "shares": {model: asdict(each) for model, each in zip((MODEL, SMALL_MODEL), shared, strict=True)},
        "spill": {"model": MODEL} | asdict(spilled),
        "losses": [asdict(each) for each in lost],
    }
    out = arguments.out or result_file("zones")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=1) + "\n")
    console = Console(width=None if Console().is_terminal else 140)
    console.print(_table(dict(zip((MODEL, SMALL_MODEL), shared, strict=True)), spilled, lost))
    console.print(f"written: {out}", highlight=False)


def _table(
    shared: dict[str, measuring.Shares], spilled: measuring.Spill, lost: list[measuring.Loss]
) -> Table:
    table = Table("what", "goal", "measured", title="two zones, a gateway and a one-thread worker in each")
    for model, each in shared.items():
        table.add_row(
            f"{model}, {each.in_flight} in flight in each zone: answered in its own",
            "≥ 95 %",
            f"{each.of_a:.1%}, {each.of_b:.1%} of {each.num_requests}",
        )
    ratios = ", ".join(f"{ratio:.1%}" for ratio in sorted(spilled.ratios))
    table.add_row(
        f"{MODEL}, {spilled.in_flight} in flight in one zone, by both zones on their own",
        "≥ 90 %",
        f"{spilled.ratio:.1%}: {spilled.one_per_s:.1f} of {spilled.both_per_s:.1f}/s ({ratios})",
    )
    table.add_row("of these answered in the other zone", "", f"{spilled.far_share:.1%}")
    gaps = ", ".join(f"{each.gap_s:.2f}" for each in lost)
    table.add_row("near zone cut off: s from its last answer to the other's first", "≤ 1", gaps)
    table.add_row("slowest request meanwhile, s", "", ", ".join(f"{each.slowest_s:.2f}" for each in lost))
    table.add_row("requests that failed", "0", str(sum(each.num_failed for each in lost)))
    return table


if __name__ == "__main__":
    main()
