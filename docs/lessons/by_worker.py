"""Count the deliveries of stored runs by worker: ``by_worker.py RUN_DIR…``."""

import json
import sys
from collections import Counter
from pathlib import Path

for directory in sys.argv[1:]:
    for path in sorted(Path(directory).rglob("deliveries.jsonl")):
        workers = Counter(json.loads(line)["worker"] for line in path.read_text().splitlines())
        for worker in sorted(set(workers) - {"canary"}):
            print(f"{path.parent.name}  {worker}: {workers[worker]}")
