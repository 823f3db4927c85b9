"""Usage: drive.py json|cbor: drives the emulator with boto3 in one of its two protocols for CodeDeploy and CloudWatch.

Every answer is checked against botocore's service model, and the documented errors are provoked one by one."""

import datetime
import io
import json
import sys
import uuid
import zipfile

import boto3
import botocore
from botocore.exceptions import ClientError

from common import check, equal, finish, holds, refused, start_emulator, until
from errors import arrange, forgotten, provoked
from model import checked_client
from shop import Shop, revision

PROTOCOL = sys.argv[1]
EMULATOR, ENDPOINT = start_emulator(f"drive-emulator-{PROTOCOL}", "--minute", "5")


def client(service):
    return checked_client(service, ENDPOINT, PROTOCOL)


codedeploy, cloudwatch, functions = client("codedeploy"), client("cloudwatch"), client("lambda")
sns, ssm, events, scheduler, dynamodb = client("sns"), client("ssm"), client("events"), client("scheduler"), client("dynamodb")
SHOP = Shop(client)
status = SHOP.status


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


STOPPED = []


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
    STOPPED.append(deployment)


@check("cloudwatch: metrics and alarms")
def _():
    now = datetime.datetime.now(datetime.timezone.utc)
    # Long enough to be packed by the SDK.
    data = [{"MetricName": "Failed", "Value": 3, "Timestamp": now}] + [{"MetricName": f"Other-{uuid.uuid4()}", "Value": 1} for _ in range(300)]
    cloudwatch.put_metric_data(Namespace="Conformance", MetricData=data)
    cloudwatch.put_metric_alarm(AlarmName="conformance", Namespace="Conformance", MetricName="Failed", Statistic="Sum", Period=60,
                                EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore")
    cloudwatch.put_composite_alarm(AlarmName="conformance-any", AlarmRule="ALARM(conformance)")
    cloudwatch.set_alarm_state(AlarmName="conformance", StateValue="ALARM", StateReason="conformance")
    equal([alarm["StateValue"] for alarm in cloudwatch.describe_alarms(AlarmNames=["conformance"])["MetricAlarms"]], ["ALARM"], "state")
    cloudwatch.disable_alarm_actions(AlarmNames=["conformance"])
    cloudwatch.enable_alarm_actions(AlarmNames=["conformance"])
    composite = lambda: cloudwatch.describe_alarms(AlarmTypes=["CompositeAlarm"], AlarmNames=["conformance-any"])["CompositeAlarms"]
    until("the composite alarm", lambda: composite()[0]["StateValue"] == "ALARM", 20)
    cloudwatch.delete_alarms(AlarmNames=["conformance-any"])
    equal(composite(), [], "composite alarms")
    query = {"Id": "m", "MetricStat": {"Metric": {"Namespace": "Conformance", "MetricName": "Failed"}, "Period": 60, "Stat": "Sum"}}

    def value():
        answer = cloudwatch.get_metric_data(MetricDataQueries=[query], StartTime=now - datetime.timedelta(minutes=5),
                                            EndTime=now + datetime.timedelta(minutes=1))
        return answer["MetricDataResults"][0]["Values"]
    equal(until("the point", value, 10), [3.0], "values")


IDS = arrange(codedeploy, STOPPED[0]) if STOPPED else {}
for service, made in (("codedeploy", codedeploy), ("cloudwatch", cloudwatch)):
    for operation, error, arguments in provoked(service, IDS):
        @check(f"{service}: {operation} answers {error}")
        def _():
            refused(error, getattr(made, botocore.xform_name(operation)), **arguments)

    @check(f"{service}: no documented error is forgotten")
    def _():
        equal(forgotten(service, made.meta.service_model), {}, "errors that are neither provoked nor said never to come")


@check("a call that the emulator does not have names itself")
def _():
    try:
        codedeploy.list_git_hub_account_token_names()
    except ClientError as error:
        holds("ListGitHubAccountTokenNames" in str(error), f"not named: {error}")
        return
    raise AssertionError("accepted")


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


@check("the main job: Snapback undoes the bad version")
def _():
    deployment, items = SHOP.play_bad_version()
    equal(items["ROLLBACK"]["cause"]["S"], "errors", "cause")
    # An alarm whose period began before the shift does not count yet; the sweep looks at it again.
    holds(items["ROLLBACK"]["trigger"]["S"] in ("alarm", "sweep"), f"trigger {items['ROLLBACK']['trigger']['S']}")
    refused("LifecycleEventAlreadyCompletedException", codedeploy.put_lifecycle_event_hook_execution_status, deploymentId=deployment,
            lifecycleEventHookExecutionId=items["HOOK#BeforeAllowTraffic"]["execution_id"]["S"], status="Succeeded")


@check("the main job: the good version is promoted")
def _():
    SHOP.play_good_version()


print(f"boto3 {boto3.__version__}, botocore {botocore.__version__}, {PROTOCOL}")
finish()
