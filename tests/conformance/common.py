"""What the parts share: checks that are counted, servers that end with their block, clients of boto3."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from ports import free_port, listens

ROOT = Path(__file__).resolve().parents[2]
BINARIES = ROOT / "target/debug"
TOOLS = ROOT / "target/conformance"
LOGS = TOOLS / "logs"
FUNCTIONS = ["before-allow-traffic", "after-allow-traffic", "alarm-handler", "deployment-recorder", "watcher", "hook-watchdog"]
REGION = "us-east-1"
PASSED, FAILED = [], []
PROBLEMS = []
CONFIG = Config(retries={"max_attempts": 1}, parameter_validation=False)


def check(name):
    """Runs a check and counts it."""
    def run(function):
        PROBLEMS.clear()
        try:
            function()
        except Exception as error:  # noqa: BLE001 - whatever it is, the check has failed
            PROBLEMS.append(f"{type(error).__name__}: {error}")
        if PROBLEMS:
            FAILED.append(name)
            print(f"FAILED  {name}")
            for problem in dict.fromkeys(PROBLEMS):
                print(f"        {problem}")
        else:
            PASSED.append(name)
            print(f"ok      {name}")
        sys.stdout.flush()
        return function
    return run


def finish():
    """Ends the servers, prints the counts, which `run` adds up, and ends the part."""
    for server in list(Server.running):
        server.end()
    print(f"{len(PASSED)} passed, {len(FAILED)} failed, 0 skipped")
    sys.exit(1 if FAILED else 0)


def equal(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what} is {found!r}, expected {expected!r}")


def holds(condition, what):
    if not condition:
        raise AssertionError(what)


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        equal(error.response["Error"]["Code"], code, f"error of {call.__name__}")
        holds(error.response["Error"].get("Message"), f"{code} has no message")
        return
    raise AssertionError(f"{call.__name__} was accepted, expected {code}")


def until(what, seen, seconds=90, every=0.5):
    """Looks until `seen` answers something true."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        found = seen()
        if found:
            return found
        time.sleep(every)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def client(service, endpoint, key="operator"):
    return boto3.client(service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id=key,
                        aws_secret_access_key="none", config=CONFIG)


class Server:
    """A process with all that it starts; its output is in target/conformance/logs/NAME.log."""

    running = []

    def __init__(self, name, command, env, cwd=ROOT):
        LOGS.mkdir(parents=True, exist_ok=True)
        self.name, self.out, self.log = name, LOGS / f"{name}.out", LOGS / f"{name}.log"
        with open(self.out, "wb") as out, open(self.log, "wb") as log:
            self.process = subprocess.Popen([str(part) for part in command], env=env, cwd=cwd, stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=log, start_new_session=True)
        self.running.append(self)

    def wait_until(self, ready, seconds=60):
        """Waits until `ready` answers something true, at most `seconds`."""
        def seen():
            holds(self.process.poll() is None, f"{self.name} ended: {self.log.read_text(errors='replace')[-2000:]}")
            return ready()
        try:
            return until(f"{self.name} to be ready", seen, seconds, every=0.05)
        except BaseException:
            self.end()
            raise

    def end(self):
        """Ends the process, then whatever of its session is left."""
        self.running.remove(self)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                pass
        for pid in session(self.process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()


def session(leader):
    """Process ids of a session that is ours."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # It has ended meanwhile.
        if int(fields[3]) == leader:
            yield int(stat.parent.name)


def start_emulator(name, *options):
    """The embedded AWS; the server and its endpoint."""
    server = Server(name, [BINARIES / "snapback", "emulator", *options], os.environ)
    line = server.wait_until(lambda: server.out.read_text().strip())
    return server, json.loads(line)["endpoint"]


def start_ministack(name, **settings):
    """MiniStack on an empty state; the server and its endpoint."""
    port, state = free_port(), TOOLS / "state" / name
    state.mkdir(parents=True, exist_ok=True)
    env = {"PATH": os.environ["PATH"], "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "MINISTACK_HOST": "127.0.0.1",
           "LAMBDA_EXECUTOR": "local", "TMPDIR": str(state), "S3_DATA_DIR": f"{state}/s3", "STATE_DIR": f"{state}/state", **settings}
    server = Server(name, [TOOLS / "ministack/bin/ministack"], env)
    server.wait_until(lambda: listens(port))
    return server, f"http://127.0.0.1:{port}"


def stop(*_):
    """Ends the servers, and this process whatever its threads do."""
    for server in list(Server.running):
        server.end()
    os._exit(1)


# `run` ends the parts with this signal.
signal.signal(signal.SIGTERM, stop)
