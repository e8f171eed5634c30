"""In the background of a script a shell lets commands ignore SIGINT; workers that stop on it must not inherit that."""

from __future__ import annotations

import signal
import subprocess
import sys

PROGRAM = """
import signal, subprocess, sys
from duetime.cli.main import cli, main

@cli.command()
def look():
    child = subprocess.run(["grep", "SigIgn", "/proc/self/status"], stdout=subprocess.PIPE, text=True)
    print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, child.stdout.split()[1])

sys.argv = ["duetime", "look"]
main()
"""
MASK = 1 << (signal.SIGINT - 1)


def ignored_by_a_child(*, ignored: bool) -> bool:
    disposition = "SIG_IGN" if ignored else "SIG_DFL"
    begin = f"import os, signal as s, sys; s.signal(s.SIGINT, s.{disposition}); os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run(
        # Not a shell, which cannot end what is ignored when it begins.
        [sys.executable, "-c", begin, sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=False,
    )
    interrupts, mask = done.stdout.split()
    assert (interrupts == "True") != ignored, done.stderr
    return bool(int(mask, 16) & MASK)


def test_a_child_obeys_sigint_although_the_command_ignores_it() -> None:
    assert not ignored_by_a_child(ignored=True)
    assert not ignored_by_a_child(ignored=False)
