"""Drives the embedded AWS with boto3 and checks every answer against botocore's service model."""

import datetime
import io
import json
import sys
import time
import uuid
import zipfile

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import ClientError

PASSED, FAILED, SKIPPED = [], [], []
# Errors that any operation may answer without modelling them.
COMMON = {"ThrottlingException", "AccessDeniedException", "ValidationException", "ValidationError",
          "UnknownOperationException", "InvalidParameterValue", "InvalidParameter"}
CONFIG = Config(retries={"max_attempts": 1}, parameter_validation=False)
PROBLEMS = []


def wrong(shape, value, path):
    """What in `value` is not as `shape` says, one line each."""
    kind = shape.type_name
    if value is None:
        return
    if kind == "structure":
        if not isinstance(value, dict):
            yield f"{path} is {type(value).__name__}, not an object"
            return
        names = {member.serialization.get("name", name): member for name, member in shape.members.items()}
        for name, member_value in value.items():
            if name == "__type":
                continue
            if name not in names:
                yield f"{path}.{name} is not in the model"
            else:
                yield from wrong(names[name], member_value, f"{path}.{name}")
        for name in shape.required_members:
            member = shape.members[name]
            if member.serialization.get("location") is None and member.serialization.get("name", name) not in value:
                yield f"{path}.{name} is required and missing"
    elif kind == "list":
        if not isinstance(value, list):
            yield f"{path} is {type(value).__name__}, not a list"
            return
        for index, item in enumerate(value):
            yield from wrong(shape.member, item, f"{path}[{index}]")
    elif kind == "map":
        if not isinstance(value, dict):
            yield f"{path} is {type(value).__name__}, not a map"
            return
        for key, item in value.items():
            yield from wrong(shape.value, item, f"{path}.{key}")
    else:
        types = {"string": (str,), "boolean": (bool,), "integer": (int,), "long": (int,), "float": (int, float),
                 "double": (int, float), "timestamp": (int, float, str), "blob": (str,), "character": (str,)}
        if not isinstance(value, types.get(kind, (object,))) or (kind in ("integer", "long") and isinstance(value, bool)):
            yield f"{path} is {value!r}, not a {kind}"


def check_answer(http_response, parsed, model, **_):
    """Hook after every call: the raw answer against the model."""
    name = f"{model.service_model.service_name}:{model.name}"
    status = http_response.status_code
    protocol = model.service_model.resolved_protocol
    if status >= 300:
        code = parsed.get("Error", {}).get("Code", "")
        known = {shape.metadata.get("error", {}).get("code", shape.name) for shape in model.error_shapes}
        known |= {shape.name for shape in model.error_shapes} | COMMON
        if code.split("#")[-1] not in known:
            PROBLEMS.append(f"{name} answered {code}, which it does not document")
        return
    if protocol in ("json", "rest-json") and model.output_shape is not None:
        if model.output_shape.serialization.get("payload"):
            return
        body = json.loads(http_response.content or b"{}")
        PROBLEMS.extend(f"{name}: {line}" for line in wrong(model.output_shape, body, "answer"))


def client(service):
    made = boto3.client(service, config=CONFIG)
    made.meta.events.register("after-call", check_answer)
    return made


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
        return function
    return run


def equal(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what} is {found!r}, expected {expected!r}")


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        equal(error.response["Error"]["Code"], code, f"error of {call.__name__}")
        if not error.response["Error"].get("Message"):
            raise AssertionError(f"{code} has no message") from None
        return
    raise AssertionError(f"{call.__name__} was accepted, expected {code}")


def until(what, seen, seconds=90):
    """Looks until `seen` answers something true."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        found = seen()
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


codedeploy, cloudwatch, functions = client("codedeploy"), client("cloudwatch"), client("lambda")
sns, ssm, events, scheduler, dynamodb = client("sns"), client("ssm"), client("events"), client("scheduler"), client("dynamodb")
HOOKS = [{"BeforeAllowTraffic": "CodeDeployHook_snapback-before-allow-traffic"},
         {"AfterAllowTraffic": "CodeDeployHook_snapback-after-allow-traffic"}]


def revision(function, current, target, hooks=()):
    spec = {"version": 0.0,
            "Resources": [{function: {"Type": "AWS::Lambda::Function", "Properties": {
                "Name": function, "Alias": "live", "CurrentVersion": current, "TargetVersion": target}}}],
            "Hooks": list(hooks)}
    return {"revisionType": "AppSpecContent", "appSpecContent": {"content": json.dumps(spec)}}


def status(deployment):
    return codedeploy.get_deployment(deploymentId=deployment)["deploymentInfo"]


@check("lambda: functions, versions, aliases, invoke")
def _():
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("bootstrap", "#!/bin/sh\n")
    created = functions.create_function(FunctionName="shop", Role="arn:aws:iam::123456789012:role/shop", Runtime="provided.al2023",
                                        Handler="bootstrap", Code={"ZipFile": package.getvalue()}, Publish=True, Timeout=10)
    equal(created["Version"], "1", "version")
    functions.update_function_configuration(FunctionName="shop", Environment={"Variables": {"DEMO_LATENCY_MS": "1"}})
    equal(functions.publish_version(FunctionName="shop")["Version"], "2", "version")
    functions.create_alias(FunctionName="shop", Name="live", FunctionVersion="1")
    functions.update_alias(FunctionName="shop", Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
    weights = functions.get_alias(FunctionName="shop", Name="live")["RoutingConfig"]["AdditionalVersionWeights"]
    equal(weights, {"2": 0.5}, "weights")
    functions.update_alias(FunctionName="shop", Name="live", RoutingConfig={"AdditionalVersionWeights": {}})
    equal(functions.get_function_configuration(FunctionName="shop", Qualifier="2")["Timeout"], 10, "time-out")
    answer = functions.invoke(FunctionName="shop", Qualifier="2", Payload=b'{"path": "/health"}')
    equal((answer["StatusCode"], answer["ExecutedVersion"], json.load(answer["Payload"])["statusCode"]), (200, "2", 200), "invoke")
    refused("ResourceNotFoundException", functions.get_alias, FunctionName="shop", Name="none")


@check("codedeploy: applications, configurations, groups")
def _():
    codedeploy.create_application(applicationName="shop", computePlatform="Lambda")
    codedeploy.create_deployment_config(
        deploymentConfigName="Canary20Percent2Minutes", computePlatform="Lambda",
        trafficRoutingConfig={"type": "TimeBasedCanary", "timeBasedCanary": {"canaryPercentage": 20, "canaryInterval": 2}})
    for name in ("Canary20Percent2Minutes", "CodeDeployDefault.LambdaCanary10Percent5Minutes", "CodeDeployDefault.LambdaAllAtOnce"):
        config = codedeploy.get_deployment_config(deploymentConfigName=name)["deploymentConfigInfo"]
        equal(config["computePlatform"], "Lambda", "platform")
    codedeploy.create_deployment_group(
        applicationName="shop", deploymentGroupName="live", serviceRoleArn="arn:aws:iam::123456789012:role/codedeploy",
        deploymentConfigName="Canary20Percent2Minutes",
        deploymentStyle={"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"},
        autoRollbackConfiguration={"enabled": True, "events": ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_REQUEST"]})
    codedeploy.update_deployment_group(applicationName="shop", currentDeploymentGroupName="live",
                                       autoRollbackConfiguration={"enabled": True, "events": ["DEPLOYMENT_FAILURE"]})
    group = codedeploy.get_deployment_group(applicationName="shop", deploymentGroupName="live")["deploymentGroupInfo"]
    equal(group["autoRollbackConfiguration"]["events"], ["DEPLOYMENT_FAILURE"], "events")


@check("codedeploy: a deployment that is stopped with rollback")
def _():
    made = codedeploy.create_deployment(applicationName="shop", deploymentGroupName="live", revision=revision("shop", "1", "2"))
    deployment = made["deploymentId"]
    if not (deployment.startswith("d-") and len(deployment) == 11 and deployment[2:].isalnum() and deployment == "d-" + deployment[2:].upper()):
        raise AssertionError(f"deployment id {deployment} does not look like AWS's")
    refused("DeploymentLimitExceededException", codedeploy.create_deployment, applicationName="shop", deploymentGroupName="live",
            revision=revision("shop", "1", "2"))
    target = lambda: codedeploy.get_deployment_target(deploymentId=deployment, targetId="shop")["deploymentTarget"]["lambdaTarget"]
    until("20 % of traffic", lambda: status(deployment)["status"] == "InProgress"
          and target()["lambdaFunctionInfo"].get("targetVersionWeight") == 0.2, 20)
    equal(codedeploy.list_deployment_targets(deploymentId=deployment)["targetIds"], ["shop"], "targets")
    info = status(deployment)
    spec = info["revision"]["appSpecContent"]
    equal(spec.get("content"), None, "content in GetDeployment")
    text = codedeploy.get_application_revision(
        applicationName="shop", revision={"revisionType": "AppSpecContent", "appSpecContent": {"sha256": spec["sha256"]}})
    equal(json.loads(text["revision"]["appSpecContent"]["content"])["Resources"][0]["shop"]["Properties"]["TargetVersion"], "2", "AppSpec")
    codedeploy.stop_deployment(deploymentId=deployment, autoRollbackEnabled=True)
    info = until("the stop", lambda: status(deployment)["status"] == "Stopped" and status(deployment))
    rollback = info["rollbackInfo"]["rollbackDeploymentId"]
    until("the rollback", lambda: status(rollback)["status"] == "Succeeded", 30)
    equal(status(rollback)["creator"], "codeDeployRollback", "creator")
    alias = functions.get_alias(FunctionName="shop", Name="live")
    equal((alias["FunctionVersion"], alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})), ("1", {}), "alias")
    found = codedeploy.batch_get_deployments(deploymentIds=[deployment, rollback])["deploymentsInfo"]
    equal(len(found), 2, "deployments")
    pages = codedeploy.get_paginator("list_deployments").paginate(applicationName="shop", deploymentGroupName="live")
    equal({id for page in pages for id in page["deployments"]}, {deployment, rollback}, "listed")
    refused("DeploymentAlreadyCompletedException", codedeploy.stop_deployment, deploymentId=deployment)


@check("codedeploy: documented errors")
def _():
    refused("DeploymentDoesNotExistException", codedeploy.get_deployment, deploymentId="d-ZZZZZZZZZ")
    refused("InvalidDeploymentIdException", codedeploy.get_deployment, deploymentId="nonsense")
    refused("DeploymentIdRequiredException", codedeploy.get_deployment)
    refused("DeploymentDoesNotExistException", codedeploy.stop_deployment, deploymentId="d-ZZZZZZZZZ")
    refused("ApplicationDoesNotExistException", codedeploy.get_deployment_group, applicationName="none", deploymentGroupName="x")
    refused("DeploymentGroupDoesNotExistException", codedeploy.get_deployment_group, applicationName="shop", deploymentGroupName="x")
    refused("DeploymentConfigDoesNotExistException", codedeploy.get_deployment_config, deploymentConfigName="none")
    refused("ApplicationAlreadyExistsException", codedeploy.create_application, applicationName="shop", computePlatform="Lambda")
    refused("DeploymentDoesNotExistException", codedeploy.put_lifecycle_event_hook_execution_status,
            deploymentId="d-ZZZZZZZZZ", lifecycleEventHookExecutionId="x", status="Succeeded")
    refused("InvalidAutoRollbackConfigException", codedeploy.update_deployment_group, applicationName="shop",
            currentDeploymentGroupName="live", autoRollbackConfiguration={"enabled": True, "events": []})


@check("a call that the stage does not have names itself")
def _():
    try:
        codedeploy.list_git_hub_account_token_names()
    except ClientError as error:
        if "ListGitHubAccountTokenNames" not in str(error):
            raise AssertionError(f"not named: {error}") from None
        return
    raise AssertionError("accepted")


@check("cloudwatch: metrics and alarms")
def _():
    now = datetime.datetime.now(datetime.timezone.utc)
    name = f"conformance-{uuid.uuid4()}"
    cloudwatch.put_metric_data(Namespace="Conformance", MetricData=[{"MetricName": "Failed", "Value": 3, "Timestamp": now}])
    cloudwatch.put_metric_alarm(AlarmName=name, Namespace="Conformance", MetricName="Failed", Statistic="Sum", Period=60,
                                EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore")
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="conformance")
    equal([alarm["StateValue"] for alarm in cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]], ["ALARM"], "state")
    query = {"Id": "m", "MetricStat": {"Metric": {"Namespace": "Conformance", "MetricName": "Failed"}, "Period": 60, "Stat": "Sum"}}

    def value():
        answer = cloudwatch.get_metric_data(MetricDataQueries=[query], StartTime=now - datetime.timedelta(minutes=5),
                                            EndTime=now + datetime.timedelta(minutes=1))
        return answer["MetricDataResults"][0]["Values"]
    equal(until("the point", value, 10), [3.0], "values")
    refused("ResourceNotFound", cloudwatch.set_alarm_state, AlarmName="none", StateValue="OK", StateReason="x")


@check("sns, ssm, events, scheduler, dynamodb")
def _():
    topic = sns.create_topic(Name="conformance")["TopicArn"]
    sns.publish(TopicArn=topic, Subject="s", Message="m", MessageAttributes={"kind": {"DataType": "String", "StringValue": "x"}})
    refused("NotFound", sns.publish, TopicArn=topic + "x", Message="m")
    for index in range(5):
        ssm.put_parameter(Name=f"/conformance/{index}", Value="v", Type="String")
    equal(ssm.get_parameter(Name="/conformance/3")["Parameter"]["Value"], "v", "value")
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path="/conformance", Recursive=True)
    equal(len([parameter for page in pages for parameter in page["Parameters"]]), 5, "parameters")
    refused("ParameterNotFound", ssm.get_parameter, Name="/conformance/none")
    events.put_rule(Name="conformance", EventPattern=json.dumps({"source": ["x"]}), State="ENABLED")
    events.put_targets(Rule="conformance", Targets=[{"Id": "t", "Arn": "arn:aws:lambda:us-east-1:123456789012:function:shop"}])
    at = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)).strftime("at(%Y-%m-%dT%H:%M:%S)")
    schedule = {"Name": "conformance", "ScheduleExpression": at, "FlexibleTimeWindow": {"Mode": "OFF"},
                "Target": {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:shop", "RoleArn": "arn:aws:iam::123456789012:role/r"}}
    scheduler.create_schedule(**schedule)
    refused("ConflictException", scheduler.create_schedule, **schedule)
    equal(scheduler.get_schedule(Name="conformance")["ScheduleExpression"], at, "schedule")
    scheduler.delete_schedule(Name="conformance")
    dynamodb.put_item(TableName="snapback", Item={"pk": {"S": "CONFORMANCE"}, "sk": {"S": "1"}})
    refused("ConditionalCheckFailedException", dynamodb.put_item, TableName="snapback",
            Item={"pk": {"S": "CONFORMANCE"}, "sk": {"S": "1"}}, ConditionExpression="attribute_not_exists(pk)")


def deploy(target):
    current = functions.get_alias(FunctionName="checkout", Name="live")["FunctionVersion"]
    made = codedeploy.create_deployment(applicationName="checkout", deploymentGroupName="checkout-live",
                                        revision=revision("checkout", current, target, HOOKS))
    return made["deploymentId"]


def record(deployment):
    items = dynamodb.query(TableName="snapback", ConsistentRead=True, KeyConditionExpression="pk = :pk",
                           ExpressionAttributeValues={":pk": {"S": f"DEPLOYMENT#{deployment}"}})["Items"]
    return {item["sk"]["S"]: item for item in items}


@check("the main job: Snapback undoes the bad version")
def _():
    deployment = deploy("2")
    info = until("the stop", lambda: status(deployment)["status"] == "Stopped" and status(deployment))
    until("the rollback", lambda: status(info["rollbackInfo"]["rollbackDeploymentId"])["status"] == "Succeeded", 30)
    equal(functions.get_alias(FunctionName="checkout", Name="live")["FunctionVersion"], "1", "alias")
    until("the record", lambda: record(deployment).get("STATE", {}).get("outcome"), 30)
    items = record(deployment)
    equal(items["STATE"]["outcome"]["S"], "rolled-back-in-shift", "outcome")
    equal((items["ROLLBACK"]["cause"]["S"], items["ROLLBACK"]["trigger"]["S"]), ("errors", "alarm"), "cause and trigger")
    refused("LifecycleEventAlreadyCompletedException", codedeploy.put_lifecycle_event_hook_execution_status, deploymentId=deployment,
            lifecycleEventHookExecutionId=items["HOOK#BeforeAllowTraffic"]["execution_id"]["S"], status="Succeeded")
    refused("InvalidLifecycleEventHookExecutionIdException", codedeploy.put_lifecycle_event_hook_execution_status,
            deploymentId=deployment, lifecycleEventHookExecutionId="of another deployment", status="Succeeded")


@check("the main job: the good version is promoted")
def _():
    deployment = deploy("3")
    until("success", lambda: status(deployment)["status"] == "Succeeded", 120)
    equal(functions.get_alias(FunctionName="checkout", Name="live")["FunctionVersion"], "3", "alias")
    until("the record", lambda: record(deployment).get("STATE", {}).get("outcome", {}).get("S") == "promoted", 30)


print(f"boto3 {boto3.__version__}, botocore {botocore.__version__}")
print(f"{len(PASSED)} passed, {len(FAILED)} failed, {len(SKIPPED)} skipped")
sys.exit(1 if FAILED else 0)
