"""Every function's binary under the AWS Lambda Runtime Interface Emulator: first the whole job, then one by one what can go wrong.

A panic cannot be provoked in Snapback's functions, and there is no switch for it. They share runtime and build profile with the
demo application, which has one; the scenario `hook-panics` plays what follows."""

import http.client
import json
import os
import shlex
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from awscli.customizations.cloudformation.yamlhelper import yaml_parse

from common import BINARIES, FUNCTIONS, REGION, ROOT, TOOLS, Server, check, client, equal, finish, holds, session, start_emulator
from ports import free_port, listens
from shop import Shop

RIE = TOOLS / "rie/aws-lambda-rie"
FIXTURES = ROOT / "shared/wire/fixtures"
UNKNOWN = "d-000000000"


def fixture(name):
    return json.loads((FIXTURES / name).read_text())


def template_timeouts():
    """Time-out of each function in the template, in seconds, by binary."""
    resources = yaml_parse((ROOT / "infra/sam/template.yaml").read_text())["Resources"].values()
    functions = [resource["Properties"] for resource in resources if resource["Type"] == "AWS::Serverless::Function"]
    return {Path(function["CodeUri"]).name: function["Timeout"] for function in functions}


class Function:
    """A binary under the Runtime Interface Emulator."""

    def __init__(self, name, case, timeout, environment):
        self.binary, self.port, runtime_api = BINARIES / name, free_port(), free_port()
        env = {"PATH": os.environ["PATH"], "AWS_LAMBDA_FUNCTION_NAME": f"snapback-{name}", "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout),
               "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": "operator",
               "AWS_SECRET_ACCESS_KEY": "none", "SNAPBACK_TABLE": "snapback", "SNAPBACK_POLICY_PREFIX": "/snapback/policy",
               "SNAPBACK_TOPIC_ARN": f"arn:aws:sns:{REGION}:123456789012:snapback",
               "SNAPBACK_WATCHDOG_ARN": f"arn:aws:lambda:{REGION}:123456789012:function:snapback-hook-watchdog",
               "SNAPBACK_SCHEDULER_ROLE_ARN": "arn:aws:iam::123456789012:role/scheduler", **environment}
        self.server = Server(f"rie-{name}-{case}", [RIE, "--log-level", "error", "--runtime-api-address", f"127.0.0.1:{runtime_api}",
                                                    "--runtime-interface-emulator-address", f"127.0.0.1:{self.port}", self.binary], env)
        self.server.wait_until(lambda: listens(self.port))

    def invoke(self, event):
        """The answer as text and the seconds that it took; `event` is JSON as text, or anything else as a value."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        started = time.monotonic()
        connection.request("POST", "/2015-03-31/functions/function/invocations",
                           event if isinstance(event, str) else json.dumps(event))
        return connection.getresponse().read().decode(), time.monotonic() - started

    def processes(self):
        """Process ids of the binary itself."""
        def is_ours(pid):
            try:
                return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(os.fsencode(self.binary))
            except OSError:
                return False
        return [pid for pid in session(self.server.process.pid) if is_ours(pid)]


def error_type(answer):
    value = json.loads(answer)
    holds(isinstance(value, dict) and value.get("errorType") and value.get("errorMessage"), f"no error: {answer}")
    return value["errorType"]


def timed_out(answer):
    return "Task timed out" in answer


def wrappers():
    """A folder of functions for the emulator, in which each of Snapback's runs under the Runtime Interface Emulator."""
    folder = TOOLS / "rie/functions"
    folder.mkdir(parents=True, exist_ok=True)
    for name in FUNCTIONS:
        command = [sys.executable, ROOT / "tests/conformance/rie_function.py", RIE, BINARIES / name]
        (folder / name).write_text(f"#!/bin/sh\nexec {shlex.join(str(part) for part in command)}\n")
        (folder / name).chmod(0o755)
    (folder / "demo-app").unlink(missing_ok=True)
    (folder / "demo-app").symlink_to(BINARIES / "demo-app")
    return folder


EMULATOR, ENDPOINT = start_emulator("rie-emulator", "--minute", "5", "--functions", wrappers())
SHOP = Shop(lambda service: client(service, ENDPOINT))
TIMEOUTS = template_timeouts()
POOL = ThreadPoolExecutor(16)
EVENTS = {}


def broken(name, timeout, event, environment):
    """Answer and seconds of a function that cannot do its work."""
    function = Function(name, "broken", timeout, environment)
    try:
        return function.invoke(event)
    finally:
        function.server.end()


def broken_cases():
    """By function: its time-out, its event, what is broken, when it gives up at the earliest and at the latest."""
    hanging = socket.create_server(("127.0.0.1", 0))  # Connections are made, and nobody answers.
    silent, closed = f"http://127.0.0.1:{hanging.getsockname()[1]}", f"http://127.0.0.1:{free_port()}"
    hook = {"DeploymentId": UNKNOWN, "LifecycleEventHookExecutionId": "of nobody"}
    # Their calls are bounded, and the template leaves them time.
    others = {"alarm-handler": "eventbridge-alarm-metric.json", "deployment-recorder": "eventbridge-codedeploy-deployment-success.json",
              "watcher": "schedule-bake-end.json", "hook-watchdog": "schedule-bake-end.json"}
    return hanging, {
        # It would check for 90 s, once in 10 s.
        "before-allow-traffic": (22, hook, {"AWS_ENDPOINT_URL": ENDPOINT, "AWS_ENDPOINT_URL_CODEDEPLOY": closed}, 10, 21),
        # It tries to reach the table while there is time for another try and for an answer to CodeDeploy.
        "after-allow-traffic": (TIMEOUTS["after-allow-traffic"], hook,
                                {"AWS_ENDPOINT_URL": ENDPOINT, "AWS_ENDPOINT_URL_DYNAMODB": silent}, 40, 58),
        **{name: (TIMEOUTS[name], fixture(event), {"AWS_ENDPOINT_URL": silent}, 4, TIMEOUTS[name] * 0.9)
           for name, event in others.items()},
    }


HANGING, BROKEN = broken_cases()
# They take most of a minute, so the rest goes on meanwhile.
GIVEN_UP = {name: POOL.submit(broken, name, *case[:3]) for name, case in BROKEN.items()}


def hook_event(deployment, items, event):
    return {"DeploymentId": deployment, "LifecycleEventHookExecutionId": items[f"HOOK#{event}"]["execution_id"]["S"]}


@check("all six at work on the emulator: the bad version is undone, the good one promoted")
def _():
    _, items = SHOP.play_bad_version()
    equal(items["ROLLBACK"]["cause"]["S"], "errors", "cause")
    deployment, items = SHOP.play_good_version()
    recorded, failed = fixture("eventbridge-codedeploy-deployment-success.json"), fixture("lambda-async-onfailure-destination-hook.json")
    recorded["detail"].update(deploymentId=deployment, application="checkout", deploymentGroup="checkout-live")
    failed["requestPayload"] = hook_event(deployment, items, "BeforeAllowTraffic")
    EVENTS.update({
        "before-allow-traffic": hook_event(deployment, items, "BeforeAllowTraffic"),
        "after-allow-traffic": hook_event(deployment, items, "AfterAllowTraffic"),
        "alarm-handler": fixture("eventbridge-alarm-metric.json"),
        "deployment-recorder": recorded,
        "watcher": {},
        "hook-watchdog": failed,
    })


@check("what was at work ran under the Runtime Interface Emulator")
def _():
    processes = {Path(f"/proc/{pid}/cmdline").read_bytes() for pid in session(EMULATOR.process.pid)}
    running = {name for name in FUNCTIONS for line in processes
               if line.startswith(os.fsencode(RIE)) and f"{BINARIES / name}\0".encode() in line}
    # The emulator keeps what has run; a function that did not run has no process.
    holds(running >= set(FUNCTIONS) - {"hook-watchdog"}, f"under the Runtime Interface Emulator: {sorted(running)}")


if EVENTS:
    UNDER_TEST = {name: Function(name, "events", 3, {"AWS_ENDPOINT_URL": ENDPOINT}) for name in FUNCTIONS}

    def answers_all(what):
        for name, function in UNDER_TEST.items():
            answer, _ = function.invoke(EVENTS[name])
            equal(answer, "null", f"{name}, {what}")

    for name, function in UNDER_TEST.items():
        @check(f"{name}: an event, bad JSON, an event that is not for it, an event")
        def _():
            equal(function.invoke(EVENTS[name])[0], "null", "answer")
            process = function.processes()
            equal(len(process), 1, "processes")
            holds("Deserialize" in error_type(function.invoke("this is no JSON")[0]), "bad JSON was understood")
            equal(function.invoke(EVENTS[name])[0], "null", "answer after bad JSON")
            answer, _ = function.invoke({"unexpected": True})
            # The schedule's event says nothing that the sweep needs.
            equal("" if name == "watcher" else error_type(answer), "" if name == "watcher" else "InvalidEvent", "error type")
            equal(function.invoke(EVENTS[name])[0], "null", "answer after an event that is not for it")
            equal(function.processes(), process, "process")

    @check("AWS hangs: each is killed at its time-out, and the next event is answered")
    def _():
        before = {name: function.processes() for name, function in UNDER_TEST.items()}
        os.kill(EMULATOR.process.pid, signal.SIGSTOP)
        try:
            answers = dict(zip(UNDER_TEST, POOL.map(lambda name: UNDER_TEST[name].invoke(EVENTS[name]), UNDER_TEST)))
        finally:
            os.kill(EMULATOR.process.pid, signal.SIGCONT)
        for name, (answer, seconds) in answers.items():
            holds(timed_out(answer) and 2.9 < seconds < 5, f"{name} answered {answer!r} after {seconds:.1f} s")
            holds(not set(before[name]) & set(UNDER_TEST[name].processes()), f"the process of {name} was not killed")
        answers_all("after the time-out")

    for function in UNDER_TEST.values():
        function.server.end()


for name, (timeout, _, _, earliest, latest) in BROKEN.items():
    @check(f"{name}: gives up by itself before its time-out of {timeout} s")
    def _():
        answer, seconds = GIVEN_UP[name].result()
        print(f"        after {seconds:.1f} s: {answer[:120]}")
        holds(error_type(answer) and earliest < seconds < latest, f"after {seconds:.1f} s: {answer}")


@check("demo-app: a panic is an error of that event, and the process goes on")
def _():
    function = Function("demo-app", "panic", 3, {"DEMO_PANIC": "true"})
    for turn in ["first", "second"]:
        answer, _ = function.invoke({"path": "/checkout"})
        holds("Lambda panicked: DEMO_PANIC is true" in answer and error_type(answer), f"{turn}: {answer}")
        process = function.processes()
    equal(function.processes(), process, "process")
    function.server.end()


HANGING.close()
finish()
