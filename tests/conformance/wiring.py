"""The wiring of infra/sam/template.yaml on MiniStack, with the real functions: rules, schedule, destination, topic, alias.

The template itself is applied by MiniStack's CloudFormation. What is changed for it, and nothing else: see `prepared`. CodeDeploy,
which MiniStack does not have, is the emulator's."""

import io
import json
import re
import subprocess
import time
import zipfile
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

from common import BINARIES, REGION, ROOT, TOOLS, check, client, equal, finish, holds, start_ministack, start_emulator, until
from shop import revision

FIXTURES = ROOT / "shared/wire/fixtures"
HOOK = "CodeDeployHook_snapback-before-allow-traffic"
STACK, BUCKET = "snapback", "functions"
ALARM = "checkout-live-v8-errors"
TOPIC = f"arn:aws:sns:{REGION}:123456789012:snapback"
# MiniStack stores alarms on metric math without their metrics and says so; the dashboard shows these alarms.
WITHOUT = ["Dashboard", "ErrorsAlarm", "HeartbeatAlarm", "LostHooksAlarm", "ThrottlesAlarm"]

SERVERS = [start_ministack("ministack-wiring"), start_emulator("wiring-emulator", "--bare")]
ENDPOINT, CODEDEPLOY = (endpoint for _, endpoint in SERVERS)


def aws(service):
    return client(service, ENDPOINT, "123456789012")


cloudformation, functions, events, logs = aws("cloudformation"), aws("lambda"), aws("events"), aws("logs")
sns, sqs, s3, ssm, cloudwatch, dynamodb = aws("sns"), aws("sqs"), aws("s3"), aws("ssm"), aws("cloudwatch"), aws("dynamodb")


def fixture(name):
    return (FIXTURES / name).read_text()


def packed(binary):
    """The deployment package of a binary, without its symbols: a tenth of the size."""
    stripped = TOOLS / "state" / f"{binary}.stripped"
    subprocess.run(["strip", "-o", stripped, BINARIES / binary], check=True)
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, stripped.read_bytes())
    return package.getvalue()


def prepared():
    """The template for MiniStack: code in its S3, endpoints for the functions, without what it cannot have."""
    template = yaml_parse((ROOT / "infra/sam/template.yaml").read_text())
    resources = template["Resources"]
    for resource in resources.values():
        if resource["Type"] == "AWS::Serverless::Function":
            binary = Path(resource["Properties"]["CodeUri"]).name
            s3.put_object(Bucket=BUCKET, Key=binary, Body=packed(binary))
            resource["Properties"]["CodeUri"] = {"Bucket": BUCKET, "Key": binary}
    template["Globals"]["Function"]["Environment"]["Variables"].update(
        AWS_ENDPOINT_URL=ENDPOINT, AWS_ENDPOINT_URL_CODEDEPLOY=CODEDEPLOY)
    math = [name for name, resource in resources.items() if "Metrics" in resource["Properties"]]
    equal(sorted([*math, "Dashboard"]), WITHOUT, "what MiniStack cannot have")
    for name in WITHOUT:
        del resources[name]
    del template["Outputs"]["DashboardUrl"]
    return template


def apply(stack, template):
    s3.put_object(Bucket=BUCKET, Key=f"{stack}.json", Body=json.dumps(template).encode())
    cloudformation.create_stack(StackName=stack, TemplateURL=f"{ENDPOINT}/{BUCKET}/{stack}.json",
                                Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
                                Parameters=[{"ParameterKey": "Architecture", "ParameterValue": "x86_64"}] if stack == STACK else [])
    describe = lambda: cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    until(f"stack {stack}", lambda: not describe()["StackStatus"].endswith("IN_PROGRESS"), 30, every=0.1)
    failed = [f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}" for event in
              cloudformation.describe_stack_events(StackName=stack)["StackEvents"] if "FAILED" in event["ResourceStatus"]]
    equal((describe()["StackStatus"], failed), ("CREATE_COMPLETE", []), "stack")


def log_of(function, pattern, seconds=30):
    """First line of a function's log that `pattern` matches."""
    def found():
        lines = logs.filter_log_events(logGroupName=f"/aws/lambda/{function}")["events"]
        return next((line["message"] for line in lines if re.search(pattern, line["message"])), None)
    return until(f"`{pattern}` in the log of {function}", found, seconds, every=1 if seconds > 60 else 0.2)


APPLIED = time.monotonic()


@check("the template is applied")
def _():
    s3.create_bucket(Bucket=BUCKET)
    apply(STACK, prepared())
    for name in [entry["FunctionName"] for entry in functions.list_functions()["Functions"]]:
        until(f"{name} to be active", lambda: functions.get_function_configuration(FunctionName=name)["State"] == "Active", 20, every=0.1)


@check("event rules: each takes the events of its kind, and no others")
def _():
    expected = {"snapback-alarms": ["eventbridge-alarm-metric.json", "eventbridge-alarm-composite.json", "eventbridge-alarm-metric-math.json"],
                "snapback-deployments": ["eventbridge-codedeploy-deployment-start.json", "eventbridge-codedeploy-deployment-stop.json"]}
    others = ["eventbridge-codedeploy-instance.json", "eventbridge-alarm-config-change.json", "eventbridge-ecs-deployment-failed.json"]
    for rule, matching in expected.items():
        pattern = events.describe_rule(Name=rule)["EventPattern"]
        for name in sum(expected.values(), others):
            equal(events.test_event_pattern(EventPattern=pattern, Event=fixture(name))["Result"], name in matching, f"{rule} takes {name}")


@check("alias: SAM publishes a version, and the alias runs it")
def _():
    s3.put_object(Bucket=BUCKET, Key="demo-app", Body=packed("demo-app"))
    example = yaml_parse((ROOT / "infra/sam/example/template.yaml").read_text())
    properties = example["Resources"]["Checkout"]["Properties"]
    # The demo application in place of the example's Node.js, and no CodeDeploy.
    kept = {key: properties[key] for key in ["AutoPublishAlias", "AutoPublishAliasAllProperties", "Tags", "Timeout", "MemorySize"]}
    function = {**kept, "FunctionName": "checkout", "Runtime": "provided.al2023", "Handler": "bootstrap", "CodeUri": {"Bucket": BUCKET, "Key": "demo-app"}}
    apply("checkout", {"Transform": "AWS::Serverless-2016-10-31", "Resources": {"Checkout": {"Type": "AWS::Serverless::Function", "Properties": function}}})
    alias = functions.get_alias(FunctionName="checkout", Name=properties["AutoPublishAlias"])
    equal(alias["FunctionVersion"], "1", "version")
    until("the function", lambda: functions.get_function_configuration(FunctionName="checkout")["State"] == "Active", 20, every=0.1)
    answer = functions.invoke(FunctionName="checkout", Qualifier="live", Payload=json.dumps({"path": "/health"}))
    equal((answer["ExecutedVersion"], json.load(answer["Payload"])["statusCode"]), ("1", 200), "answer through the alias")


def deploy():
    """A deployment of version 2 on the emulator's CodeDeploy, ten minutes long; its id."""
    codedeploy, emulator_functions = client("codedeploy", CODEDEPLOY), client("lambda", CODEDEPLOY)
    # The emulator's Lambda has the same function, because its CodeDeploy shifts traffic there.
    emulator_functions.create_function(FunctionName="checkout", Role="arn:aws:iam::123456789012:role/checkout", Runtime="provided.al2023",
                                    Handler="bootstrap", Code={"ZipFile": b""}, Publish=True)
    for lambda_functions in (emulator_functions, functions):
        lambda_functions.update_function_configuration(FunctionName="checkout", Environment={"Variables": {"DEMO_LATENCY_MS": "1"}})
        equal(lambda_functions.publish_version(FunctionName="checkout")["Version"], "2", "version")
    emulator_functions.create_alias(FunctionName="checkout", Name="live", FunctionVersion="1")
    cloudwatch.put_metric_alarm(AlarmName=ALARM, Namespace="Shop", MetricName="Errors", Statistic="Sum", Period=60, EvaluationPeriods=1,
                                Threshold=1, ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching")
    codedeploy.create_application(applicationName="checkout-app", computePlatform="Lambda")
    codedeploy.create_deployment_group(
        applicationName="checkout-app", deploymentGroupName="checkout-live-dg", serviceRoleArn="arn:aws:iam::123456789012:role/codedeploy",
        deploymentConfigName="CodeDeployDefault.LambdaCanary10Percent10Minutes",
        deploymentStyle={"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"})
    made = codedeploy.create_deployment(applicationName="checkout-app", deploymentGroupName="checkout-live-dg",
                                        revision=revision("checkout", "1", "2"))
    until("the shift", lambda: codedeploy.get_deployment(deploymentId=made["deploymentId"])["deploymentInfo"]["status"] == "InProgress", 20)
    return made["deploymentId"]


def put(rule, name, change):
    """An event of a fixture for a rule, with other members of its detail.

    Nobody but AWS may put events of `aws.…`, and MiniStack says so too. So the rule listens to another source meanwhile, and an
    input transformer at its target gives the event its own source back."""
    event, described = json.loads(fixture(name)), events.describe_rule(Name=rule)
    entry = {"Source": event["source"], "DetailType": event["detail-type"], "Detail": json.dumps({**event["detail"], **change}),
             "Resources": event["resources"]}
    equal(events.put_events(Entries=[entry])["Entries"][0].get("ErrorCode"), "NotAuthorizedForSourceException", "source aws.*")
    pattern = {**json.loads(described["EventPattern"]), "source": ["conformance"]}
    events.put_rule(Name=rule, EventPattern=json.dumps(pattern), State="ENABLED")
    members = [member for member in event if member != "source"]
    paths = {member.replace("-", ""): f"$.{member}" for member in members}
    text = ", ".join(f'"{member}": <{member.replace("-", "")}>' for member in members)
    transformer = {"InputPathsMap": paths, "InputTemplate": f'{{"source": "{event["source"]}", {text}}}'}
    targets = events.list_targets_by_rule(Rule=rule)["Targets"]
    events.put_targets(Rule=rule, Targets=[{**target, "InputTransformer": transformer} for target in targets])
    equal(events.put_events(Entries=[{**entry, "Source": "conformance"}])["FailedEntryCount"], 0, "refused events")


def items(deployment, prefix):
    query = {"KeyConditionExpression": "pk = :pk AND begins_with(sk, :sk)",
             "ExpressionAttributeValues": {":pk": {"S": f"DEPLOYMENT#{deployment}"}, ":sk": {"S": prefix}}}
    return dynamodb.query(TableName="snapback", ConsistentRead=True, **query)["Items"]


DEPLOYMENT = []


@check("event rule: the recorder puts a deployment on record")
def _():
    policy = {"service": "checkout", "mode": "advise", "signals": {"errors": {"alarms": [ALARM]}}}
    ssm.put_parameter(Name="/snapback/policy/checkout-app/checkout-live-dg", Type="String", Value=json.dumps(policy))
    deployment = deploy()
    put("snapback-deployments", "eventbridge-codedeploy-deployment-start.json", {"deploymentId": deployment})
    state = until("the record", lambda: items(deployment, "STATE"), 20, every=0.2)[0]
    equal((state["target"]["M"]["baseline"]["S"], state["target"]["M"]["canary"]["S"]), ("1", "2"), "versions on record")
    DEPLOYMENT.append(deployment)


@check("event rule: the alarm handler puts the alarm on that record")
def _():
    detail = json.loads(fixture("eventbridge-alarm-metric.json"))["detail"]
    detail["state"]["timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime())
    put("snapback-alarms", "eventbridge-alarm-metric.json", detail)
    texts = lambda: [item["text"]["S"] for item in items(DEPLOYMENT[0], "EVENT#")]
    until("the evidence", lambda: any(text.startswith(f"alarm {ALARM} is ALARM: Threshold Crossed") for text in texts()), 20, every=0.2)


@check("asynchronous failure: a hook that cannot answer is handed to the watchdog, after one try")
def _():
    event = {"DeploymentId": "d-000000000", "LifecycleEventHookExecutionId": "of nobody"}
    equal(functions.invoke(FunctionName=HOOK, InvocationType="Event", Payload=json.dumps(event))["StatusCode"], 202, "status")
    log_of(HOOK, "NotAnswered")
    line = log_of("snapback-hook-watchdog", "a hook ended without an answer")
    holds(HOOK in line, line)
    tries = [line for line in logs.filter_log_events(logGroupName=f"/aws/lambda/{HOOK}")["events"] if line["message"].startswith("START")]
    equal(len(tries), 1, "tries")


@check("topic: an alarm on Snapback itself reaches its subscriber")
def _():
    queue = sqs.create_queue(QueueName="people")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=TOPIC, Protocol="sqs", Endpoint=arn)
    cloudwatch.set_alarm_state(AlarmName="snapback-dead-letters", StateValue="ALARM", StateReason="conformance")
    received = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10).get("Messages", [])
    equal(len(received), 1, "messages")
    body = json.loads(received[0]["Body"])
    equal((body["TopicArn"], json.loads(body["Message"])["NewStateValue"]), (TOPIC, "ALARM"), "message")


@check("schedule: the sweep runs within its minute, and finds the deployment")
def _():
    # While something is live the watcher holds the lease for most of a minute; its log comes only at its end.
    lease = {"TableName": "snapback", "Key": {"pk": {"S": "SWEEP#0"}, "sk": {"S": "LEASE"}}, "ConsistentRead": True}
    held = until("the lease of the sweep", lambda: dynamodb.get_item(**lease).get("Item"), 90)
    print(f"        {time.monotonic() - APPLIED:.0f} s after the stack: {held['owner']['S']}")


finish()
