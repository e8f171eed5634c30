"""Bars of a stored benchmark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from duetime.report.lane import Numbers


def benchmark_bars(stored: Mapping[str, Any]) -> Numbers:
    """Medians by group, from a file of ``pytest benchmarks/ --benchmark-json FILE``."""
    groups: dict[str, list[tuple[str, float]]] = {}
    for bench in stored["benchmarks"]:
        groups.setdefault(bench["group"] or bench["name"].partition("[")[0], []).append(
            (bench["name"], bench["stats"]["median"])
        )
    cpu = stored.get("machine_info", {}).get("cpu", {})
    return {
        "conditions": f"{cpu.get('count', '?')} cores, {cpu.get('brand_raw', 'processor unknown')}, "
        f"{stored.get('datetime', '')[:10]}; compare within one group only",
        "groups": [{"name": name, "bars": list(_bars(medians))} for name, medians in groups.items()],
    }


def _bars(medians: Sequence[tuple[str, float]]) -> Iterable[Numbers]:
    least, most = min(median for _, median in medians), max(median for _, median in medians)
    for name, median in medians:
        yield {
            "name": name,
            "median": f"{median * 1000:.2f} ms",
            "ratio": f"{median / least:.1f}" if least else "-",
            "width": round(240 * median / most, 1) if most else 0,
        }
