"""The AWS CLI drives the emulator's CodeDeploy and CloudWatch: exit codes, JSON and text, waiters, errors as people read them."""

import json
import os
import re
import subprocess
import tempfile
import time
import zipfile

from common import REGION, TOOLS, check, equal, finish, holds, start_emulator, until
from shop import revision

EMULATOR, ENDPOINT = start_emulator("cli-emulator", "--minute", "5")
ENV = {"PATH": f"{TOOLS / 'aws/bin'}:{os.environ['PATH']}", "HOME": str(TOOLS), "AWS_ENDPOINT_URL": ENDPOINT, "AWS_REGION": REGION,
       "AWS_DEFAULT_REGION": REGION, "AWS_ACCESS_KEY_ID": "operator", "AWS_SECRET_ACCESS_KEY": "none", "AWS_CONFIG_FILE": os.devnull,
       "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1"}
# What the CLI ends with when a service answers an error.
REFUSED = 255


def run(*words):
    return subprocess.run(["aws", *words], env=ENV, text=True, capture_output=True, timeout=120)


def aws(*words):
    """The answer of a command that succeeds; `None` when it says nothing."""
    done = run(*words)
    holds(done.returncode == 0, f"aws {' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout) if done.stdout.strip() else None


def refused(code, *words):
    done = run(*words)
    equal((done.returncode, done.stdout), (REFUSED, ""), f"exit code and output of aws {' '.join(words)}")
    holds(f"An error occurred ({code}) when calling" in done.stderr, done.stderr)


@check("aws lambda: a function, versions, an alias")
def _():
    with tempfile.NamedTemporaryFile(suffix=".zip") as package:
        with zipfile.ZipFile(package.name, "w") as archive:
            archive.writestr("bootstrap", "#!/bin/sh\n")
        made = aws("lambda", "create-function", "--function-name", "shop", "--role", "arn:aws:iam::123456789012:role/shop", "--runtime",
                   "provided.al2023", "--handler", "bootstrap", "--zip-file", f"fileb://{package.name}", "--publish")
    equal(made["Version"], "1", "version")
    aws("lambda", "update-function-configuration", "--function-name", "shop", "--timeout", "9")
    equal(aws("lambda", "publish-version", "--function-name", "shop")["Version"], "2", "version")
    aws("lambda", "create-alias", "--function-name", "shop", "--name", "live", "--function-version", "1")


@check("aws deploy: a deployment, waited for, listed and stopped")
def _():
    aws("deploy", "create-application", "--application-name", "shop", "--compute-platform", "Lambda")
    style = "deploymentType=BLUE_GREEN,deploymentOption=WITH_TRAFFIC_CONTROL"
    aws("deploy", "create-deployment-group", "--application-name", "shop", "--deployment-group-name", "live", "--deployment-config-name",
        "CodeDeployDefault.LambdaAllAtOnce", "--deployment-style", style, "--service-role-arn", "arn:aws:iam::123456789012:role/codedeploy")
    group = ["--application-name", "shop", "--deployment-group-name", "live"]
    first = aws("deploy", "create-deployment", *group, "--revision", json.dumps(revision("shop", "1", "2")))["deploymentId"]
    aws("deploy", "wait", "deployment-successful", "--deployment-id", first)
    info = aws("deploy", "get-deployment", "--deployment-id", first)["deploymentInfo"]
    equal((info["status"], info["computePlatform"]), ("Succeeded", "Lambda"), "deployment")
    second = aws("deploy", "create-deployment", *group, "--deployment-config-name", "CodeDeployDefault.LambdaCanary10Percent5Minutes",
                 "--revision", json.dumps(revision("shop", "2", "1")))["deploymentId"]
    target = ["deploy", "get-deployment-target", "--deployment-id", second, "--target-id", "shop", "--query",
              "deploymentTarget.lambdaTarget.lambdaFunctionInfo.targetVersionWeight"]
    until("10 % of traffic", lambda: run(*target).stdout.strip() == "0.1", 20)
    refused("DeploymentLimitExceededException", "deploy", "create-deployment", *group, "--revision", json.dumps(revision("shop", "2", "1")))
    aws("deploy", "stop-deployment", "--deployment-id", second, "--auto-rollback-enabled")
    until("the stop", lambda: aws("deploy", "get-deployment", "--deployment-id", second)["deploymentInfo"]["status"] == "Stopped", 20)
    refused("DeploymentAlreadyCompletedException", "deploy", "stop-deployment", "--deployment-id", second)
    listed = run("deploy", "list-deployments", *group, "--output", "text")
    holds({first, second} <= set(listed.stdout.split()), listed.stdout)
    refused("DeploymentDoesNotExistException", "deploy", "get-deployment", "--deployment-id", "d-ZZZZZZZZZ")


@check("aws cloudwatch: a metric, an alarm")
def _():
    aws("cloudwatch", "put-metric-data", "--namespace", "Cli", "--metric-name", "Failed", "--value", "3")
    aws("cloudwatch", "put-metric-alarm", "--alarm-name", "cli", "--namespace", "Cli", "--metric-name", "Failed", "--statistic", "Sum",
        "--period", "60", "--evaluation-periods", "1", "--threshold", "1", "--comparison-operator", "GreaterThanThreshold",
        "--treat-missing-data", "ignore")
    aws("cloudwatch", "set-alarm-state", "--alarm-name", "cli", "--state-value", "ALARM", "--state-reason", "conformance")
    states = run("cloudwatch", "describe-alarms", "--alarm-names", "cli", "--query", "MetricAlarms[].[AlarmName,StateValue]", "--output", "text")
    equal(states.stdout.split(), ["cli", "ALARM"], "states")
    query = [{"Id": "m", "MetricStat": {"Metric": {"Namespace": "Cli", "MetricName": "Failed"}, "Period": 60, "Stat": "Sum"}}]
    now = time.time()
    window = ["--start-time", str(int(now) - 300), "--end-time", str(int(now) + 60)]
    values = lambda: aws("cloudwatch", "get-metric-data", "--metric-data-queries", json.dumps(query), *window)["MetricDataResults"][0]["Values"]
    equal(until("the point", values, 20), [3.0], "values")
    refused("ResourceNotFound", "cloudwatch", "set-alarm-state", "--alarm-name", "none", "--state-value", "OK", "--state-reason", "x")


@check("the commands that `snapback emulator` prints do what it says")
def _():
    commands = re.findall(r"^  (aws .*)$", EMULATOR.log.read_text(), re.MULTILINE)
    equal(len(commands), 3, "commands")
    for command in commands:
        done = subprocess.run(["/bin/sh", "-c", command], env=ENV, text=True, capture_output=True, timeout=60)
        holds(done.returncode == 0 and done.stdout.strip(), f"{command} ended with {done.returncode}: {done.stderr}")
    holds("checkout" in done.stdout, done.stdout)


finish()
