"""Usage: rie_function.py RIE BINARY: what the emulator starts in place of BINARY. It runs BINARY under the Runtime Interface Emulator
with the environment that the emulator gave, and hands the events on."""

import http.client
import json
import os
import subprocess
import sys
import time

from ports import free_port, listens

RIE, BINARY = sys.argv[1:]
API = os.environ.pop("AWS_LAMBDA_RUNTIME_API")


def call(host, method, path, body=None):
    connection = http.client.HTTPConnection(host)
    connection.request(method, path, body)
    response = connection.getresponse()
    return response.headers, response.read()


def start(seconds):
    """Starts the Runtime Interface Emulator; the address that takes events."""
    runtime_api, events = free_port(), free_port()
    env = {**os.environ, "AWS_LAMBDA_FUNCTION_TIMEOUT": str(seconds)}
    # In the group of this process, which the emulator kills as a whole.
    subprocess.Popen([RIE, "--log-level", "error", "--runtime-api-address", f"127.0.0.1:{runtime_api}",
                      "--runtime-interface-emulator-address", f"127.0.0.1:{events}", BINARY], env=env)
    # If it never does, the emulator ends this process at the time-out of the event.
    while not listens(events):
        time.sleep(0.01)
    return f"127.0.0.1:{events}"


events_address = None
while True:
    headers, event = call(API, "GET", "/2018-06-01/runtime/invocation/next")
    left_ms = int(headers["Lambda-Runtime-Deadline-Ms"]) - time.time() * 1000
    events_address = events_address or start(round(left_ms / 1000))
    _, answer = call(events_address, "POST", "/2015-03-31/functions/function/invocations", event)
    try:
        failed = "errorType" in (json.loads(answer) or {})
    except ValueError:
        failed = True  # The Runtime Interface Emulator says in plain words that the time is over.
    kind = "error" if failed else "response"
    call(API, "POST", f"/2018-06-01/runtime/invocation/{headers['Lambda-Runtime-Aws-Request-Id']}/{kind}", answer)
