"""docker-compose.yml, without Docker: valid, asking for secrets and for no more, and reachable from this host alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from duetime import registry
from duetime.cli.main import cli
from duetime.harness.processes.flower import COLUMNS
from tests.cli.compose import FILE, ROOT, Missing, services

SHELL = {"POSTGRES_PASSWORD": "any"}
SERVICES = services(SHELL)
OURS = [name for name, service in SERVICES.items() if "build" in service]


def test_compose_would_take_the_file() -> None:
    command = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", FILE]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_it_demands_one_password_and_no_other_variable() -> None:
    with pytest.raises(Missing, match="POSTGRES_PASSWORD: choose a password"):
        services({})

    assert services(SHELL)["flower"]["environment"]["FLOWER_BASIC_AUTH"] is None


def test_without_a_profile_there_are_two_servers_and_nothing_of_ours() -> None:
    assert [name for name, service in SERVICES.items() if "profiles" not in service] == ["postgres", "valkey"]


def test_every_service_that_another_waits_for_is_there_whenever_that_one_is() -> None:
    for name, service in SERVICES.items():
        for needed in service.get("depends_on", {}):
            profiles = SERVICES[needed].get("profiles")
            assert profiles is None or set(service["profiles"]) <= set(profiles), (name, needed)


@pytest.mark.parametrize("name", SERVICES)
def test_it_is_reached_from_this_host_alone(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("design", registry.default_designs())
def test_each_design_is_a_service_of_which_there_may_be_several(design: str) -> None:
    service = SERVICES[design]

    assert not {"container_name", "ports", "hostname"} & set(service)
    assert service["environment"]["DUETIME_DATABASE_URL"].endswith(f"/{design}")
    assert service["environment"]["DUETIME_WATCHED"] == "yes"
    assert service["healthcheck"]["test"] == ["CMD", "duetime", "health", design]


@pytest.mark.parametrize("name", OURS)
def test_every_duetime_command_in_it_is_one_that_duetime_understands(name: str) -> None:
    service: dict[str, Any] = SERVICES[name]
    for words in (service["command"], service.get("healthcheck", {}).get("test", [])[1:]):
        if words[:1] == ["duetime"]:
            command = cli.commands.get(words[1])
            assert command is not None
            command.make_context(words[1], list(words[2:]))


def test_flower_shows_the_same_columns_wherever_it_runs() -> None:
    assert f"--tasks_columns={COLUMNS}" in SERVICES["flower"]["command"][2]


def test_the_image_is_made_of_files_that_are_there_and_sent_to_it() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    names = {name for line in copied for name in line.split()}
    assert names == sent
    assert all((ROOT / name).exists() for name in names)
