"""docker-compose.yml is valid, requires only its secrets, and publishes ports on this host only."""

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


def test_the_file_matches_the_schema_of_compose() -> None:
    program = Path(sys.executable).with_name("check-jsonschema")
    command = [str(program), "--builtin-schema", "vendor.compose-spec", str(FILE)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_file_requires_one_password_and_no_other_variable() -> None:
    with pytest.raises(Missing, match="POSTGRES_PASSWORD: choose a password"):
        services({})

    assert services(SHELL)["flower"]["environment"]["FLOWER_BASIC_AUTH"] is None


def test_without_a_profile_only_the_two_servers_start() -> None:
    assert [name for name, service in SERVICES.items() if "profiles" not in service] == ["postgres", "valkey"]


def test_a_service_is_in_every_profile_of_the_services_that_depend_on_it() -> None:
    for name, service in SERVICES.items():
        for needed in service.get("depends_on", {}):
            profiles = SERVICES[needed].get("profiles")
            assert profiles is None or set(service["profiles"]) <= set(profiles), (name, needed)


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_this_host_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("design", registry.default_designs())
def test_the_service_of_each_design_can_be_scaled(design: str) -> None:
    service = SERVICES[design]

    assert not {"container_name", "ports", "hostname"} & set(service)
    assert service["environment"]["DUETIME_DATABASE_URL"].endswith(f"/{design}")
    assert service["environment"]["DUETIME_WATCHED"] == "yes"
    assert service["healthcheck"]["test"] == ["CMD", "duetime", "health", design]


@pytest.mark.parametrize("name", OURS)
def test_every_duetime_command_in_the_file_is_valid(name: str) -> None:
    service: dict[str, Any] = SERVICES[name]
    for argv in (service["command"], service.get("healthcheck", {}).get("test", [])[1:]):
        if argv[:1] == ["duetime"]:
            command = cli.commands.get(argv[1])
            assert command is not None
            command.make_context(argv[1], list(argv[2:]))


def test_flower_shows_the_same_columns_as_in_the_demo() -> None:
    assert f"--tasks_columns={COLUMNS}" in SERVICES["flower"]["command"][2]


def test_the_image_copies_existing_files_of_its_build_context() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    in_context = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    names = {name for line in copied for name in line.split()}
    assert names == in_context
    assert all((ROOT / name).exists() for name in names)
