"""Create pg-boss's schema and the queue; its own calls may be repeated."""

import os
import subprocess
from pathlib import Path

node = Path(os.environ["NODE_PATH"], ".bin", "node")
subprocess.run([node, Path(__file__).with_name("install.js")], check=True)
