"""Celery's own event receiver: prints every event it sees as a line of JSON.

Its shift of the timestamps by the worker's utcoffset is switched off.
"""
import json
import sys
import time

import shop


def show(event):
    print(json.dumps(event, default=str), flush=True)


while True:
    try:
        with shop.app.connection() as connection:
            receiver = shop.app.events.Receiver(connection, handlers={"*": show})
            original = receiver.event_from_message
            receiver.event_from_message = lambda body, localize=True, **kw: original(body, localize=False, **kw)
            receiver.capture(limit=None, timeout=None, wakeup=True)
    except (KeyboardInterrupt, SystemExit):
        raise
    except Exception as error:  # the broker is restarted under it
        print("watch:", repr(error), file=sys.stderr, flush=True)
        time.sleep(0.2)
