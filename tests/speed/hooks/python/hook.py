"""A hook BeforeAllowTraffic as a team writes it with boto3: for comparison with Snapback's, whose checks and AWS calls it makes.

bench-coldstart refuses to compare when the calls differ.
"""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import boto3

cloudwatch = boto3.client("cloudwatch")
codedeploy = boto3.client("codedeploy")
dynamodb = boto3.client("dynamodb")
functions = boto3.client("lambda")
ssm = boto3.client("ssm")
threads = ThreadPoolExecutor(max_workers=5)

TABLE = os.environ["SNAPBACK_TABLE"]
POLICIES = os.environ["SNAPBACK_POLICY_PREFIX"]


def handler(event, _context):
    deployment, execution = event["DeploymentId"], event["LifecycleEventHookExecutionId"]
    dynamodb.put_item(
        TableName=TABLE,
        Item=item(deployment, "HOOK", {"execution": execution}),
        ConditionExpression="attribute_not_exists(pk)",
    )
    facts = look(deployment)
    record(deployment, facts)
    problems = [f"{name} is red" for name, state in facts["alarms"].items() if state == "ALARM"]
    problems += probe(facts)
    status = "Failed" if problems else "Succeeded"
    why = "; ".join(problems) or "all checks passed"
    write(
        item(deployment, "STATE", {"phase": status, "version": 2}),
        item(deployment, "HOOK", {"execution": execution, "result": status}),
        item(deployment, event_key("check"), {"text": why}),
    )
    codedeploy.put_lifecycle_event_hook_execution_status(
        deploymentId=deployment, lifecycleEventHookExecutionId=execution, status=status
    )
    write(
        item(deployment, "HOOK", {"execution": execution, "result": status, "answered": status}),
        item(deployment, event_key("answer"), {"text": f"answered {status}: {why}"}),
    )


def look(deployment):
    """What is deployed, under which policy, and how its alarms are. Asks the services side by side."""
    info = codedeploy.get_deployment(deploymentId=deployment)["deploymentInfo"]
    application, group = info["applicationName"], info["deploymentGroupName"]
    sha256 = info["revision"]["appSpecContent"]["sha256"]
    of_policy = threads.submit(ssm.get_parameter, Name=f"{POLICIES}/{application}/{group}")
    history = threads.submit(
        dynamodb.query,
        TableName=TABLE,
        ConsistentRead=True,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": f"GROUP#{application}/{group}"}},
    )
    of_group = codedeploy.get_deployment_group(applicationName=application, deploymentGroupName=group)
    of_revision = codedeploy.get_application_revision(
        applicationName=application,
        revision={"revisionType": "AppSpecContent", "appSpecContent": {"sha256": sha256}},
    )
    policy = json.loads(of_policy.result()["Parameter"]["Value"])
    spec = json.loads(of_revision["revision"]["appSpecContent"]["content"])
    target = next(iter(spec["Resources"][0].values()))["Properties"]
    on_group = of_group["deploymentGroupInfo"].get("alarmConfiguration", {}).get("alarms", [])
    names = [name for signal in policy["signals"].values() for name in signal.get("alarms", [])]
    names += [alarm["name"] for alarm in on_group if not alarm["name"].startswith("snapback-")]
    of_alarms = threads.submit(
        cloudwatch.describe_alarms, AlarmNames=names, AlarmTypes=["MetricAlarm", "CompositeAlarm"]
    )
    versions = [
        functions.get_function_configuration(FunctionName=target["Name"], Qualifier=target[version])["CodeSha256"]
        for version in ("CurrentVersion", "TargetVersion")
    ]
    return {
        "policy": policy,
        "target": target,
        "application": application,
        "group": group,
        "good": [known for known in history.result()["Items"] if known["sk"]["S"].startswith("GOOD#")],
        "versions": versions,
        "alarms": {alarm["AlarmName"]: alarm["StateValue"] for alarm in of_alarms.result()["MetricAlarms"]},
    }


def record(deployment, facts):
    """Puts the deployment on record; the version that serves is a good one when no other is known."""
    items = [
        item(deployment, "STATE", {"phase": "BeforeTraffic", "version": 1, "revisions": json.dumps(facts["versions"])}),
        item(deployment, "POLICY", {"document": json.dumps(facts["policy"])}),
    ]
    for name, state in facts["alarms"].items():
        items.append(item(f"ALARM#{name}", f"DEPLOYMENT#{deployment}", {"state": state}))
    if not facts["good"]:
        good = {"version": facts["target"]["CurrentVersion"]}
        items.append(item(f"GROUP#{facts['application']}/{facts['group']}", f"GOOD#{now_ms():013}", good))
    write(*items)


def probe(facts):
    """Asks the new version as the policy says; what is wrong with its answers."""
    problems = []
    for check in facts["policy"]["before_traffic"]["probes"]:
        for _ in range(check["invoke"].get("times", 1)):
            answer = functions.invoke(
                FunctionName=facts["target"]["Name"],
                Qualifier=facts["target"]["TargetVersion"],
                Payload=json.dumps(check["invoke"]["payload"]),
            )
            body = json.load(answer["Payload"])
            expected = check["invoke"]["expect"]["status"]
            if "FunctionError" in answer or body.get("statusCode") != expected:
                problems.append(f"a probe answered {body}, expected status {expected}")
    return problems


def write(*items):
    dynamodb.transact_write_items(TransactItems=[{"Put": {"TableName": TABLE, "Item": new}} for new in items])


def item(key, sort_key, attributes):
    keys = {"pk": {"S": key if "#" in key else f"DEPLOYMENT#{key}"}, "sk": {"S": sort_key}}
    typed = {name: {"N": str(value)} if isinstance(value, int) else {"S": value} for name, value in attributes.items()}
    return {**keys, **typed}


def event_key(kind):
    return f"EVENT#{now_ms():013}#{kind}"


def now_ms():
    return int(time.time() * 1000)
