"""What a stored run delivered, by kind: how many revisions, and how many of them more than once."""

import json
import sys
from collections import Counter
from pathlib import Path

found = [path for run in sys.argv[1:] for path in sorted(Path(run).rglob("deliveries.jsonl"))]
for path in found:
    records = [json.loads(line) for line in path.read_text().splitlines()]
    times = Counter(record["op"] for record in records if record["worker"] != "canary")
    for kind in sorted({op.partition(":")[0] for op in times}):
        mine = [count for op, count in times.items() if op.startswith(f"{kind}:")]
        print(f"{path.parent.name}  {kind}: {len(mine)} came, {sum(count > 1 for count in mine)} of them twice")
