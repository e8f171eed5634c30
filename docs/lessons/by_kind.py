"""Count the revisions that stored runs delivered, and those delivered more than once: ``by_kind.py RUN_DIR…``."""

import json
import sys
from collections import Counter
from pathlib import Path

for directory in sys.argv[1:]:
    for path in sorted(Path(directory).rglob("deliveries.jsonl")):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        deliveries = Counter(record["op"] for record in records if record["worker"] != "canary")
        for kind in sorted({op.partition(":")[0] for op in deliveries}):
            counts = [count for op, count in deliveries.items() if op.startswith(f"{kind}:")]
            again = sum(count > 1 for count in counts)
            print(f"{path.parent.name}  {kind}: {len(counts)} delivered, {again} of them more than once")
