"""Usage: store.py dynamodb-local|ministack: the store's own tests (shared/aws/src/dynamodb/tests.rs) on an engine of other people."""

import json
import os
import re
import subprocess
import sys

from common import ROOT, TOOLS, Server, check, finish, holds, start_ministack
from ports import free_port, listens

ENGINE = sys.argv[1]


def start_dynamodb_local():
    port, folder = free_port(), TOOLS / "dynamodb-local"
    policy = ROOT / "tests/conformance/dynamodb-local.policy"
    command = ["java", "-Djava.security.manager", f"-Djava.security.policy=={policy}", "-Djava.library.path=./DynamoDBLocal_lib",
               "-jar", "DynamoDBLocal.jar", "-inMemory", "-port", port]
    server = Server("dynamodb-local", command, os.environ, folder)
    server.wait_until(lambda: listens(port))
    return server, f"http://127.0.0.1:{port}"


def test_binary():
    """The unit tests of snapback-aws; everything is built at once, so that no other set of features is."""
    build = ["cargo", "test", "--workspace", "--locked", "--quiet", "--lib", "--no-run", "--message-format=json"]
    lines = subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    artifacts = [json.loads(line) for line in lines if line.startswith("{")]
    found = [artifact["executable"] for artifact in artifacts
             if artifact.get("executable") and artifact["target"]["name"] == "snapback_aws"]
    holds(len(found) == 1, f"test binaries of snapback-aws: {found}")
    return found[0]


BINARY = test_binary()
SERVER, ENDPOINT = start_dynamodb_local() if ENGINE == "dynamodb-local" else start_ministack("ministack-store")


@check(f"the store's tests on {ENGINE}")
def _():
    run = subprocess.run([BINARY, "dynamodb::", "--nocapture", "--test-threads=4"], cwd=ROOT, text=True, capture_output=True,
                         env={**os.environ, "SNAPBACK_TEST_DYNAMODB": ENDPOINT})
    print(run.stdout, run.stderr, file=open(SERVER.log, "a"))
    counted = re.search(r"(\d+) passed; (\d+) failed", run.stdout)
    tables = len(re.findall(rf"table \S+ at {re.escape(ENDPOINT)}", run.stdout))
    names = re.findall(r"^    (dynamodb::\S+)$", run.stdout, re.MULTILINE)
    holds(run.returncode == 0 and counted, f"failed on {ENGINE}: {sorted(set(names))}, see {SERVER.log}")
    # Otherwise they may have run on the engine in the test itself.
    holds(tables >= 10, f"{tables} tables were made at {ENDPOINT}")
    print(f"        {counted[1]} tests, {tables} tables at {ENDPOINT}")


finish()
