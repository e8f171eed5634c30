"""What a stored run delivered, by server."""

import json
import sys
from collections import Counter
from pathlib import Path

for path in [path for run in sys.argv[1:] for path in sorted(Path(run).rglob("deliveries.jsonl"))]:
    workers = Counter(json.loads(line)["worker"] for line in path.read_text().splitlines())
    for worker in sorted(set(workers) - {"canary"}):
        print(f"{path.parent.name}  {worker}: {workers[worker]}")
