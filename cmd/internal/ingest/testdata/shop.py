"""A small Celery app with every way in which a task can end."""
import os
import signal
import time

from celery import Celery
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

app = Celery("shop", broker=os.environ["SHOP_BROKER"])
app.conf.update(
    task_send_sent_event=True,
    worker_send_task_events=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=64,
    worker_hijack_root_logger=False,
    broker_connection_retry=True,
    broker_connection_max_retries=None,
    task_routes={"shop.solo.*": {"queue": "solo"}},
)


class PaymentDeclined(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.code = code

    def __repr__(self):
        return f"<PaymentDeclined code={self.code!r}\n detail=\"it's (not) funded\">"


@app.task(name="shop.add")
def add(x, y):
    return x + y


@app.task(name="shop.solo.touch")
def touch(n):
    return {"n": n, "text": "naïve 支払い 💥 \x00"}


@app.task(name="shop.charge")
def charge(amount):
    if amount < 0:
        raise PaymentDeclined(str(amount))
    raise ValueError(f"cannot charge {amount}: 'quoted' \"double\" \\ é\n")


@app.task(name="shop.flaky", bind=True, max_retries=5)
def flaky(self, until):
    if self.request.retries < until:
        raise self.retry(exc=ConnectionError(f"attempt {self.request.retries} refused"), countdown=0)
    return self.request.retries


@app.task(name="shop.hopeless", bind=True, max_retries=1)
def hopeless(self):
    raise self.retry(exc=TimeoutError("upstream 504"), countdown=0)


@app.task(name="shop.ignored")
def ignored():
    raise Ignore()


@app.task(name="shop.rejected", acks_late=True)
def rejected():
    raise Reject("no", requeue=False)


@app.task(name="shop.soft", soft_time_limit=1)
def soft():
    time.sleep(20)


@app.task(name="shop.hard", time_limit=1)
def hard():
    time.sleep(20)


@app.task(name="shop.wait")
def wait(seconds):
    time.sleep(seconds)
    return seconds


@app.task(name="shop.suicide", acks_late=False)
def suicide():
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="shop.talk", bind=True)
def talk(self):
    self.send_event("task-progress", step=1, of=2)
    self.send_event("task-ratio", ratio=float("nan"))
    return "said"
