"""Rules about RabbitMQ and SQS, and what the linter says that it does not judge."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import celery
import pytest
from celery import Celery
from kombu import Exchange, Queue

from duetime.lint import rabbitmq_rules, task_rules
from duetime.lint.finding import Finding
from duetime.lint.text import lines
from duetime.lint.transport import transport
from tests.lint.apps import DAY, GOOD_COMMAND, HOUR, TIMEOUT, do_nothing, findings, good_app, warnings

CONSUMER_TIMEOUT = "consumer_timeout (RabbitMQ)"
QUORUM = {"x-queue-type": "quorum"}
NATIVE: dict[str, Any] = {"task_default_queue_type": "quorum", "task_default_exchange_type": "topic"}
RETENTION = "MessageRetentionPeriod (of the queue)"


def rabbit(**changes: Any) -> Celery:
    return good_app(broker_url="amqp://guest@localhost//", **{"broker_transport_options": {}, **changes})


def sqs(*, tasks_limit: float = 60, **options: Any) -> Celery:
    return good_app(broker_url="sqs://", broker_transport_options=options, task_time_limit=tasks_limit)


def settings(*args: Any, **options: Any) -> list[str]:
    return [setting for setting, _ in warnings(*args, **options)]


def unjudged(app: Celery, **options: Any) -> str:
    [found] = [f for f in findings(app, **options) if f.level == "not judged"]
    return found.consequence


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        (None, "amqp"),
        ("amqps://broker", "amqp"),
        ("pyamqp://broker", "amqp"),
        ("rediss://broker", "redis"),
        ("sentinel://a:26379;sentinel://b:26379", "redis"),
        ("SQS://", "sqs"),
        ("sqla+sqlite:///broker", "sqlalchemy"),
        ("gcpubsub://projects/shop", "gcpubsub"),
        ("shop.transport:Transport://broker", "shop.transport:Transport"),
    ],
)
def test_the_transport_is_known_without_its_library(url: str | None, driver: str) -> None:
    assert transport(Celery("shop", broker=url, set_as_current=False)).driver == driver


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("redis://localhost", "maxmemory-policy"),
        ("amqp://localhost", "delivery-limit"),
        ("sqs://", "RedrivePolicy"),
        ("memory://", "live in one process"),
        ("filesystem://", "removes a message from the broker when a worker receives it"),
        ("confluentkafka://localhost", "one position for each partition"),
        ("gcpubsub://projects/shop", "ack_deadline_seconds"),
        ("shop.transport:Transport://broker", "ETAs and countdowns"),
    ],
)
def test_what_is_not_judged_is_always_printed(url: str, known: str) -> None:
    app = good_app(broker_url=url, broker_transport_options={})

    for horizon in (timedelta(0), 30 * DAY):
        assert unjudged(app, horizon=horizon).startswith("not judged on this transport: ")
        text = " ".join("\n".join(lines(["shop:app"], findings(app, horizon=horizon))).split())
        assert known in text
    no_tasks = Celery("shop", broker=url, set_as_current=False)
    assert "not judged on this transport: " in unjudged(no_tasks)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"broker_url": "redis://a;redis://b"}, False),
        ({"broker_url": ["redis://a", "amqp://b"]}, True),
        ({"broker_url": "redis://a", "broker_write_url": "sqs://"}, True),
        ({"broker_url": "redis://a", "broker_write_url": "redis://b"}, False),
    ],
)
def test_broker_urls_of_another_transport_are_not_judged(changes: dict[str, Any], *, named: bool) -> None:
    assert ("the other broker URLs" in unjudged(good_app(**changes))) is named


def test_a_transport_of_another_package_is_not_taken_for_kombus_redis() -> None:
    other = good_app(broker_url="celery_redis_plus.transport:Transport://localhost", broker_transport_options={})

    assert TIMEOUT not in settings(other, horizon=30 * DAY)


def test_an_eta_beyond_the_consumer_timeout_ends_the_worker() -> None:
    [finding] = [f for f in findings(rabbit(), horizon=30 * DAY) if f.setting == CONSUMER_TIMEOUT]

    assert "the worker exits with status 1" in finding.consequence
    assert CONSUMER_TIMEOUT in settings(rabbit(), horizon=timedelta(minutes=30))
    assert CONSUMER_TIMEOUT not in settings(rabbit(), horizon=timedelta(minutes=29))
    assert CONSUMER_TIMEOUT not in settings(rabbit(), consumer_timeout=2 * HOUR)
    assert CONSUMER_TIMEOUT not in settings(rabbit(), consumer_timeout=timedelta(0))
    assert settings(rabbit(), horizon=timedelta(0)) == []
    retries = rabbit(broker_channel_error_retry=True)
    [finding] = [f for f in findings(retries) if f.setting == CONSUMER_TIMEOUT]
    assert "the worker connects again" in finding.consequence


def test_the_timeout_of_a_queue_overrides_that_of_the_server() -> None:
    def with_timeout(milliseconds: int) -> Celery:
        return rabbit(task_queues=[Queue("celery", queue_arguments={"x-consumer-timeout": milliseconds})])

    assert CONSUMER_TIMEOUT not in settings(with_timeout(7_200_000))
    assert CONSUMER_TIMEOUT in settings(with_timeout(60_000), consumer_timeout=DAY)


def test_a_queue_of_the_command_line_counts() -> None:
    app = rabbit(**NATIVE)

    assert settings(app) == []
    assert CONSUMER_TIMEOUT in settings(app, f"{GOOD_COMMAND} -Q celery,mail")
    strict = rabbit(**NATIVE, task_create_missing_queues=False)
    assert settings(strict, f"{GOOD_COMMAND} -Q celery,mail") == []


def test_a_quorum_queue_on_a_direct_exchange_holds_its_eta_tasks_in_the_worker() -> None:
    direct = rabbit(task_default_queue_type="quorum")

    assert settings(direct, horizon=HOUR, consumer_timeout=DAY) == ["task_default_exchange_type"]
    assert settings(direct, horizon=timedelta(0)) == []
    assert settings(rabbit(**NATIVE)) == []
    assert [f.setting for f in findings(direct) if f.scenario == "far_flood"] == []


@pytest.mark.parametrize("fixed", [True, False])
def test_on_rabbitmq_4_a_classic_queue_holds_them_too(monkeypatch: pytest.MonkeyPatch, *, fixed: bool) -> None:
    for module in (rabbitmq_rules, task_rules):
        monkeypatch.setattr(module, "FIXED_ON_RABBITMQ_4", fixed)

    assert settings(rabbit(), consumer_timeout=DAY) == (["task_default_queue_type"] if fixed else [])
    assert settings(rabbit(worker_prefetch_multiplier=0), consumer_timeout=DAY) == []
    # Without a fixed count a worker receives all of them, and its memory grows.
    assert ("far_flood" in {f.scenario for f in findings(rabbit())}) is not fixed


def test_quorum_queues_must_be_detected() -> None:
    assert settings(rabbit(**NATIVE, worker_detect_quorum_queues=False)) == ["worker_detect_quorum_queues"]
    assert settings(rabbit(worker_detect_quorum_queues=False), horizon=timedelta(0)) == []


@pytest.mark.parametrize(
    ("kind", "consequence"), [("Quorum", "exits with status 1"), ("", "exits"), ("classic", "without confirmation")]
)
def test_the_type_of_the_delay_queues(kind: str, consequence: str) -> None:
    option = {"broker_native_delayed_delivery_queue_type": kind}

    [finding] = [f for f in findings(rabbit(**NATIVE, **option)) if f.level == "warning"]

    assert finding.setting == "broker_native_delayed_delivery_queue_type"
    assert consequence in finding.consequence
    assert settings(rabbit(**option), horizon=timedelta(0)) == []


def test_a_default_queue_type_without_effect() -> None:
    mail = Queue("mail", Exchange("mail", "topic"))
    quorum = Queue("mail", Exchange("mail", "topic"), queue_arguments=QUORUM)

    def found(**changes: Any) -> list[str]:
        return settings(rabbit(**changes), horizon=timedelta(0))

    assert found(task_default_queue_type="quorum", task_queues=[mail]) == ["task_default_queue_type"]
    assert found(task_default_queue_type="Quorum") == ["task_default_queue_type"]
    assert found(task_default_queue_type="quorum", task_queues=[quorum]) == []
    assert found(task_queues=[mail]) == []
    redis = good_app(task_default_queue_type="quorum")
    assert settings(redis) == []


def test_one_version_of_celery_refuses_a_delay_of_less_than_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    app = rabbit(**NATIVE)
    monkeypatch.setattr(celery, "__version__", "5.7.0")

    assert settings(app) == ["celery.__version__"]
    assert "celery.__version__" not in settings(rabbit())


@pytest.mark.skipif(celery.VERSION[:3] > (5, 7, 0), reason="read in Celery 5.7.0")
def test_celery_itself_refuses_a_delay_of_less_than_a_second() -> None:
    app = rabbit(**NATIVE)

    with pytest.raises(ValueError, match="countdown must be a positive number"):
        app.tasks["shop.charge"].apply_async(countdown=0.5)


def test_a_delay_above_28_bits_arrives_at_another_time() -> None:
    app = rabbit(**NATIVE)

    assert settings(app, horizon=timedelta(seconds=2**28)) == [
        "CELERY_WORKER_REVOKE_EXPIRES (environment)",
        "--horizon",
    ]
    assert "--horizon" not in settings(app, horizon=timedelta(seconds=2**28 - 1))


def test_an_eta_beyond_the_visibility_timeout_of_sqs_is_delivered_again() -> None:
    def timeout(app: Celery, **options: Any) -> list[Finding]:
        return [f for f in findings(app, **options) if "every copy runs" in f.consequence]

    [finding] = timeout(sqs())
    assert (finding.value, finding.is_default) == ("30m", True)
    assert timeout(sqs(visibility_timeout=7200)) == []
    [finding] = timeout(sqs(visibility_timeout=43200), horizon=12 * HOUR)
    assert finding.fix.startswith("none for due times 12h away")
    [finding] = timeout(sqs(predefined_queues={"celery": {"url": "https://sqs/celery"}}), horizon=DAY)
    assert finding.value == "unknown, at most 12h"
    assert timeout(sqs(predefined_queues={"celery": {"url": "https://sqs/celery"}})) == []
    assert timeout(sqs(), horizon=timedelta(0)) == []


def test_sqs_refuses_a_visibility_timeout_above_12_hours() -> None:
    assert "refuses" in next(f.consequence for f in findings(sqs(visibility_timeout=43201)) if f.setting == TIMEOUT)
    assert TIMEOUT not in settings(sqs(visibility_timeout=43200))


def test_sqs_deletes_an_eta_task_after_the_retention() -> None:
    longer: dict[str, Any] = {"sqs-creation-attributes": {"MessageRetentionPeriod": "1209600"}}

    assert RETENTION in settings(sqs(), horizon=4 * DAY)
    assert RETENTION not in settings(sqs(), horizon=3 * DAY)
    assert RETENTION not in settings(sqs(**longer), horizon=4 * DAY)
    assert RETENTION in settings(sqs(**longer), horizon=14 * DAY)


def test_a_killed_worker_of_sqs_returns_its_messages_after_the_visibility_timeout() -> None:
    app = sqs(visibility_timeout=7200)

    assert settings(app, horizon=timedelta(0), lateness=HOUR) == [TIMEOUT]
    assert settings(app, horizon=timedelta(0), lateness=2 * HOUR) == []


def test_how_often_sqs_is_asked() -> None:
    def found(**options: Any) -> list[str]:
        return settings(sqs(**options), horizon=timedelta(0), lateness=HOUR)

    assert found(polling_interval=7200) == ["broker_transport_options['polling_interval']"]
    assert found(wait_time_seconds=21) == ["broker_transport_options['wait_time_seconds']"]
    assert found(polling_interval=0, wait_time_seconds=20) == []


def test_a_queue_that_is_not_predefined() -> None:
    def found(**options: Any) -> list[str]:
        return settings(sqs(**options), horizon=timedelta(0), lateness=HOUR)

    url = {"url": "https://sqs.eu-central-1.amazonaws.com/1/x"}
    assert found(predefined_queues={"mail": url}) == ["broker_transport_options['predefined_queues']"]
    assert found(predefined_queues={"celery": url}) == []
    assert found(predefined_queues={"shop-celery": url}, queue_name_prefix="shop.") == []


def test_revokes_need_remote_control() -> None:
    def found(app: Celery, **options: Any) -> bool:
        return "worker_enable_remote_control" in settings(app, **options)

    assert found(sqs())
    assert found(good_app(worker_enable_remote_control=False))
    assert not found(good_app())
    assert not found(sqs(), horizon=timedelta(0))


def test_a_late_task_without_a_time_limit_is_not_judged() -> None:
    assert "how long shop.charge may run" in unjudged(good_app())
    assert "how long" not in unjudged(good_app(task_time_limit=60))
    assert "how long" not in unjudged(good_app(task_acks_late=False))
    app = good_app(broker_url="memory://")
    app.task(name="shop.mail", shared=False)(do_nothing)
    assert "how long" not in unjudged(app)
