"""The figures of a stored benchmark, by question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from duetime.report.lane import Numbers


def benchmark_bars(stored: Mapping[str, Any]) -> Numbers:
    """The table of each benchmark, from a file of ``pytest benchmarks/ --benchmark-json FILE``.

    A benchmark without a table of its own has a bar, the median duration of its rounds, beside those of its group.
    """
    groups: dict[str, list[tuple[str, float]]] = {}
    tables, sizes = [], set()
    for bench in stored["benchmarks"]:
        name, info = bench["group"] or bench["name"].partition("[")[0], bench.get("extra_info", {})
        sizes.add(info.get("size"))
        if "table" in info:
            conclusions = info.get("conclusions", ()) if info.get("size") != "quick" else ()
            tables.append({"name": name, **info["table"], "conclusions": list(conclusions)})
        else:
            groups.setdefault(name, []).append((bench["name"], bench["stats"]["median"]))
    cpu = stored.get("machine_info", {}).get("cpu", {})
    return {
        "conditions": f"{cpu.get('count', '?')} cores, {cpu.get('brand_raw', 'processor unknown')}, "
        f"{stored.get('datetime', '')[:10]}; compare within one question only",
        "no_measurement": "quick" in sizes,
        "tables": tables,
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
