"""Create graphile-worker's schema; its own command may be repeated."""

import os
import subprocess

command = f"{os.environ['NODE_PATH']}/.bin/graphile-worker"
subprocess.run([command, "--schema-only", "-c", os.environ["DUETIME_DATABASE_DSN"]], check=True)
