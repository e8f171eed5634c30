"""What the body of a function uses is found without calling it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest

from duetime.lint.libraries.bodies import uses


class Retry(Exception):
    pass


def raises() -> None:
    raise Retry


def calls() -> None:
    raises()


def contains() -> Callable[[], None]:
    def inner() -> None:
        raise Retry

    return inner


def catches() -> None:
    try:
        calls_itself()
    except OSError as error:
        raise Retry from error


def calls_itself() -> None:
    calls_itself()


def decorated(function: Callable[[], None]) -> Callable[[], None]:
    @wraps(function)
    def wrapper() -> None:
        function()

    return wrapper


class Task:
    def execute(self) -> None:
        raise Retry


@pytest.mark.parametrize(
    "function", [raises, calls, contains, catches, decorated(raises), Task().execute, Task.execute]
)
def test_a_name_is_found(function: Any) -> None:
    assert uses(function, "Retry")


@pytest.mark.parametrize("function", [calls_itself, decorated(calls_itself), decorated, len, None, "Retry", Task])
def test_another_function_does_not_use_it(function: Any) -> None:
    assert not uses(function, "Retry")
