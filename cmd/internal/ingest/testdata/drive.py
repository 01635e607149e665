"""Publishes tasks and prints one JSON line for each: its id and how it must end.

    drive.py mixed N    every kind of outcome, and N plain ones
    drive.py plain N    plain ones, spread over some seconds
"""
import json
import sys
import time
from datetime import datetime, timedelta, timezone

from celery import chain, group

import shop

expected = {}


def want(result, state, **more):
    expected[result.id] = dict(state=state, **more)
    return result


def plain(n):
    for i in range(n):
        if i % 3:
            want(shop.add.delay(i, 1), "SUCCESS", name="shop.add", queue="celery", args=f"({i}, 1)", retries=0)
        else:
            want(shop.touch.delay(i), "SUCCESS", name="shop.solo.touch", queue="solo", retries=0)


def mixed(n):
    doomed = shop.wait.apply_async((30,), countdown=2)
    want(doomed, "REVOKED", name="shop.wait")
    time.sleep(0.3)  # a revocation is for workers that know the task
    doomed.revoke()
    for i in range(3):  # taken by a worker before it expires, as RabbitMQ forgets what has expired
        want(shop.add.apply_async((i, i), countdown=2.5, expires=2), "REVOKED")
    running = shop.wait.delay(30)
    want(running, "REVOKED", name="shop.wait")
    want(shop.soft.delay(), "FAILURE", exception="SoftTimeLimitExceeded")
    want(shop.hard.delay(), "FAILURE")
    plain(n)
    for i in range(5):
        want(shop.charge.delay(i), "FAILURE", exception="ValueError")
        want(shop.charge.delay(-i - 1), "FAILURE", exception="PaymentDeclined")
        want(shop.flaky.delay(i % 3), "SUCCESS", retries=i % 3)
        want(shop.hopeless.delay(), "FAILURE", exception="TimeoutError", retries=1)
        want(shop.ignored.delay(), "STARTED")
        want(shop.rejected.delay(), "REJECTED")
        want(shop.talk.delay(), "SUCCESS")
        want(shop.app.send_task("no.such.task", (1,)), "FAILURE", exception="NotRegistered", name="no.such.task")
        eta = datetime.now(timezone.utc) + timedelta(milliseconds=700)
        want(shop.add.apply_async((i, i), eta=eta), "SUCCESS", eta=eta.timestamp())
        want(shop.add.apply_async((i, i), task_id=f"custom/{n} é {i}"), "SUCCESS")
        tail = chain(shop.add.s(1, 2), shop.add.s(3), group(shop.add.s(i) for i in range(3))).apply_async()
        root = tail.parent.parent
        want(root, "SUCCESS", root=root.id)
        want(tail.parent, "SUCCESS", root=root.id, parent=root.id)
        for child in tail.children:
            want(child, "SUCCESS", root=root.id, parent=tail.parent.id)
    time.sleep(1.5)
    running.revoke(terminate=True, signal="SIGTERM")
    want(shop.suicide.delay(), "FAILURE")


kind, number = sys.argv[1], int(sys.argv[2])
if kind == "mixed":
    mixed(number)
else:
    for i in range(0, number, 10):
        plain(min(10, number - i))
        time.sleep(0.1)
for uuid, e in expected.items():
    print(json.dumps(dict(id=uuid, **e)), flush=True)
