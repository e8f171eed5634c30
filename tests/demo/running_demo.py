"""A demo process for tests."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.request import urlopen


@dataclass(frozen=True)
class Demo:
    """A running demo. out: where it saves runs."""

    url: str
    flower: str
    process: subprocess.Popen[str]
    out: Path

    @property
    def address(self) -> str:
        return self.url.split("/")[2]

    def send(self, command: str, **fields: object) -> tuple[int, dict[str, Any]]:
        """Send a command as the page does; return the HTTP status and the answer."""
        return self.post("/command", {"command": command, **fields})

    def post(self, path: str, body: object, **headers: str) -> tuple[int, dict[str, Any]]:
        with closing(HTTPConnection(self.address, timeout=60)) as connection:
            connection.request("POST", path, json.dumps(body), {"Origin": f"http://{self.address}", **headers})
            answer = connection.getresponse()
            text = answer.read().decode()
        return answer.status, json.loads(text) if text.startswith("{") else {"text": text}


@contextmanager
def running(
    out: Path, *arguments: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Demo]:
    """Run `duetime demo` in the directory `cwd`, with `environment`; by default those of this process."""
    options = ["--no-browser", "--port", "0", "--out", str(out), *arguments]
    command = [str(Path(sys.executable).with_name("duetime")), "demo", *options]
    with subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        urls = re.findall(r"http://\S+", "".join(lines))
        try:
            yield Demo(urls[0], urls[1], process, out)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)


def read(url: str) -> Any:
    with urlopen(url, timeout=20) as answer:  # noqa: S310 - an address that the demo printed
        return json.loads(answer.read())
