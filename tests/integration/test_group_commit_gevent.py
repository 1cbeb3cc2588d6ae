"""Group commit in a process that gevent has patched, and in one without gevent."""

from __future__ import annotations

import subprocess
import sys

from tests.helpers.support import ROOT

GEVENT = """\
from gevent import monkey
native_sleep = __import__("time").sleep
monkey.patch_all()
import gevent, sys, threading
from gateway.queues.group_commit import GroupCommit
calls = []
def store(items):
    calls.append(list(items))
    native_sleep(0.25)  # holds up the whole native thread, as SQLite does
    if "bad" in items:
        raise OSError("disk")
    return items
group = GroupCommit(store)
"""


def _under_gevent(script: str) -> str:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", GEVENT + script],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_under_gevent_the_loop_goes_on_while_a_commit_is_under_way():
    beats = _under_gevent("""
beats = 0
def heart():
    global beats
    while True:
        gevent.sleep(0.005)
        beats += 1
gevent.spawn(heart)
gevent.sleep(0.01)
beats = 0
group.commit(["a"])
group.commit(["b"])
print(beats)
""")
    assert int(beats) >= 10  # none but one or two if the loop had been held up


def test_under_gevent_greenlets_share_a_commit_and_its_error():
    said = _under_gevent("""
def attempt(name):
    try:
        return "".join(group.commit([name]))
    except OSError as error:
        return f"{name}:{error}"
first = gevent.spawn(attempt, "first")
gevent.sleep(0.05)
rest = [gevent.spawn(attempt, name) for name in ("a", "bad", "c")]
gevent.sleep(0.05)
thread = threading.Thread(target=attempt, args=["d"])
thread.start()
done = gevent.joinall([first, *rest], timeout=30)
thread.join(30)
print(*[one.value for one in (first, *rest)], len(calls), attempt("after"))
""")
    assert said == "first a:disk bad:disk c:disk 2 after"


def test_without_gevent_group_commit_never_imports_it():
    script = """
import sys, threading
from gateway.queues.group_commit import GroupCommit
GroupCommit(lambda items: items).commit([1])
print("gevent" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout == "False\n"
