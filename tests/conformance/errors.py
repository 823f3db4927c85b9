"""The errors that CodeDeploy and CloudWatch document for the operations of the emulator: how each is provoked, or why it never comes."""

import datetime

LONG = "x" * 300
NOT_AN_ID, UNKNOWN = "nonsense", "d-ZZZZZZZZZ"
SHOP, GROUP = {"applicationName": "shop"}, {"applicationName": "shop", "deploymentGroupName": "live"}
ROLE = {"serviceRoleArn": "arn:aws:iam::123456789012:role/codedeploy"}
SHA = {"revisionType": "AppSpecContent", "appSpecContent": {"sha256": "0" * 64}}
ELEVEN = {"enabled": True, "alarms": [{"name": f"alarm-{index}"} for index in range(11)]}
NO_ALARMS = {"enabled": True, "alarms": []}
NO_EVENTS = {"enabled": True, "events": []}
LATER_EARLIER = {"start": datetime.datetime(2026, 1, 2), "end": datetime.datetime(2026, 1, 1)}
ANSWER = {"lifecycleEventHookExecutionId": "x", "status": "Succeeded"}
# A metric alarm; merged with what makes it wrong.
ALARM = {"AlarmName": "a", "Namespace": "N", "MetricName": "M", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1,
         "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold"}

# Operation, error, arguments. Application `shop` and its group `live` are there, and `server` with a deployment (see `arrange`).
PROVOKED = {
    "codedeploy": [
        ("CreateApplication", "ApplicationNameRequiredException", {}),
        ("CreateApplication", "InvalidApplicationNameException", {"applicationName": LONG}),
        ("CreateApplication", "ApplicationAlreadyExistsException", {**SHOP, "computePlatform": "Lambda"}),
        ("CreateApplication", "InvalidComputePlatformException", {"applicationName": "new", "computePlatform": "Mainframe"}),
        ("CreateDeploymentGroup", "ApplicationNameRequiredException", {"deploymentGroupName": "new", **ROLE}),
        ("CreateDeploymentGroup", "ApplicationDoesNotExistException", {"applicationName": "none", "deploymentGroupName": "new", **ROLE}),
        ("CreateDeploymentGroup", "DeploymentGroupNameRequiredException", {**SHOP, **ROLE}),
        ("CreateDeploymentGroup", "InvalidDeploymentGroupNameException", {**SHOP, "deploymentGroupName": LONG, **ROLE}),
        ("CreateDeploymentGroup", "DeploymentGroupAlreadyExistsException", {**GROUP, **ROLE}),
        ("CreateDeploymentGroup", "RoleRequiredException", {**SHOP, "deploymentGroupName": "new"}),
        ("CreateDeploymentGroup", "DeploymentConfigDoesNotExistException",
         {**SHOP, "deploymentGroupName": "new", **ROLE, "deploymentConfigName": "none"}),
        ("CreateDeploymentGroup", "InvalidDeploymentConfigNameException",
         {**SHOP, "deploymentGroupName": "new", **ROLE, "deploymentConfigName": "CodeDeployDefault.OneAtATime"}),
        ("CreateDeploymentGroup", "InvalidAlarmConfigException",
         {**SHOP, "deploymentGroupName": "new", **ROLE, "alarmConfiguration": NO_ALARMS}),
        ("CreateDeploymentGroup", "AlarmsLimitExceededException",
         {**SHOP, "deploymentGroupName": "new", **ROLE, "alarmConfiguration": ELEVEN}),
        ("CreateDeploymentGroup", "InvalidAutoRollbackConfigException",
         {**SHOP, "deploymentGroupName": "new", **ROLE, "autoRollbackConfiguration": NO_EVENTS}),
        ("UpdateDeploymentGroup", "ApplicationNameRequiredException", {"currentDeploymentGroupName": "live"}),
        ("UpdateDeploymentGroup", "ApplicationDoesNotExistException", {"applicationName": "none", "currentDeploymentGroupName": "live"}),
        ("UpdateDeploymentGroup", "DeploymentGroupNameRequiredException", SHOP),
        ("UpdateDeploymentGroup", "DeploymentGroupDoesNotExistException", {**SHOP, "currentDeploymentGroupName": "none"}),
        ("UpdateDeploymentGroup", "InvalidDeploymentGroupNameException",
         {**SHOP, "currentDeploymentGroupName": "live", "newDeploymentGroupName": LONG}),
        ("UpdateDeploymentGroup", "DeploymentConfigDoesNotExistException",
         {**SHOP, "currentDeploymentGroupName": "live", "deploymentConfigName": "none"}),
        ("UpdateDeploymentGroup", "InvalidDeploymentConfigNameException",
         {**SHOP, "currentDeploymentGroupName": "live", "deploymentConfigName": "CodeDeployDefault.OneAtATime"}),
        ("UpdateDeploymentGroup", "InvalidAlarmConfigException",
         {**SHOP, "currentDeploymentGroupName": "live", "alarmConfiguration": NO_ALARMS}),
        ("UpdateDeploymentGroup", "AlarmsLimitExceededException",
         {**SHOP, "currentDeploymentGroupName": "live", "alarmConfiguration": ELEVEN}),
        ("UpdateDeploymentGroup", "InvalidAutoRollbackConfigException",
         {**SHOP, "currentDeploymentGroupName": "live", "autoRollbackConfiguration": NO_EVENTS}),
        ("GetDeploymentGroup", "ApplicationNameRequiredException", {"deploymentGroupName": "live"}),
        ("GetDeploymentGroup", "ApplicationDoesNotExistException", {"applicationName": "none", "deploymentGroupName": "live"}),
        ("GetDeploymentGroup", "DeploymentGroupNameRequiredException", SHOP),
        ("GetDeploymentGroup", "DeploymentGroupDoesNotExistException", {**SHOP, "deploymentGroupName": "none"}),
        ("CreateDeploymentConfig", "DeploymentConfigNameRequiredException", {"computePlatform": "Lambda"}),
        ("CreateDeploymentConfig", "InvalidDeploymentConfigNameException",
         {"deploymentConfigName": "CodeDeployDefault.Mine", "computePlatform": "Lambda"}),
        ("CreateDeploymentConfig", "DeploymentConfigAlreadyExistsException",
         {"deploymentConfigName": "Canary20Percent2Minutes", "computePlatform": "Lambda", "trafficRoutingConfig": {"type": "AllAtOnce"}}),
        ("CreateDeploymentConfig", "InvalidComputePlatformException", {"deploymentConfigName": "new", "computePlatform": "Mainframe"}),
        ("CreateDeploymentConfig", "InvalidTrafficRoutingConfigurationException",
         {"deploymentConfigName": "new", "computePlatform": "Lambda",
          "trafficRoutingConfig": {"type": "TimeBasedCanary", "timeBasedCanary": {"canaryPercentage": 100, "canaryInterval": 2}}}),
        ("GetDeploymentConfig", "DeploymentConfigNameRequiredException", {}),
        ("GetDeploymentConfig", "DeploymentConfigDoesNotExistException", {"deploymentConfigName": "none"}),
        ("CreateDeployment", "ApplicationNameRequiredException", {"deploymentGroupName": "live", "revision": SHA}),
        ("CreateDeployment", "ApplicationDoesNotExistException", {**GROUP, "applicationName": "none", "revision": SHA}),
        ("CreateDeployment", "DeploymentGroupNameRequiredException", {**SHOP, "revision": SHA}),
        ("CreateDeployment", "DeploymentGroupDoesNotExistException", {**SHOP, "deploymentGroupName": "none", "revision": SHA}),
        ("CreateDeployment", "RevisionRequiredException", GROUP),
        ("CreateDeployment", "RevisionDoesNotExistException", {**GROUP, "revision": SHA}),
        ("CreateDeployment", "InvalidRevisionException", {**GROUP, "revision": {"revisionType": "AppSpecContent"}}),
        ("CreateDeployment", "DeploymentConfigDoesNotExistException", {**GROUP, "revision": SHA, "deploymentConfigName": "none"}),
        ("CreateDeployment", "InvalidDeploymentConfigNameException",
         {**GROUP, "revision": SHA, "deploymentConfigName": "CodeDeployDefault.OneAtATime"}),
        ("CreateDeployment", "DescriptionTooLongException", {**GROUP, "revision": SHA, "description": LONG}),
        ("CreateDeployment", "InvalidAlarmConfigException", {**GROUP, "revision": SHA, "overrideAlarmConfiguration": NO_ALARMS}),
        ("CreateDeployment", "AlarmsLimitExceededException", {**GROUP, "revision": SHA, "overrideAlarmConfiguration": ELEVEN}),
        ("CreateDeployment", "InvalidAutoRollbackConfigException", {**GROUP, "revision": SHA, "autoRollbackConfiguration": NO_EVENTS}),
        ("GetDeployment", "DeploymentIdRequiredException", {}),
        ("GetDeployment", "InvalidDeploymentIdException", {"deploymentId": NOT_AN_ID}),
        ("GetDeployment", "DeploymentDoesNotExistException", {"deploymentId": UNKNOWN}),
        ("BatchGetDeployments", "DeploymentIdRequiredException", {"deploymentIds": []}),
        ("BatchGetDeployments", "InvalidDeploymentIdException", {"deploymentIds": [NOT_AN_ID]}),
        ("BatchGetDeployments", "BatchLimitExceededException", {"deploymentIds": [UNKNOWN] * 26}),
        ("ListDeployments", "ApplicationNameRequiredException", {"deploymentGroupName": "live"}),
        ("ListDeployments", "ApplicationDoesNotExistException", {"applicationName": "none", "deploymentGroupName": "live"}),
        ("ListDeployments", "DeploymentGroupNameRequiredException", SHOP),
        ("ListDeployments", "DeploymentGroupDoesNotExistException", {**SHOP, "deploymentGroupName": "none"}),
        ("ListDeployments", "InvalidTimeRangeException", {"createTimeRange": LATER_EARLIER}),
        ("ListDeployments", "InvalidDeploymentStatusException", {"includeOnlyStatuses": ["Lost"]}),
        ("ListDeployments", "InvalidNextTokenException", {"nextToken": "x"}),
        ("GetApplicationRevision", "ApplicationNameRequiredException", {"revision": SHA}),
        ("GetApplicationRevision", "ApplicationDoesNotExistException", {"applicationName": "none", "revision": SHA}),
        ("GetApplicationRevision", "RevisionRequiredException", SHOP),
        ("GetApplicationRevision", "RevisionDoesNotExistException", {**SHOP, "revision": SHA}),
        ("GetApplicationRevision", "InvalidRevisionException", {**SHOP, "revision": {"revisionType": "AppSpecContent"}}),
        ("GetDeploymentTarget", "DeploymentIdRequiredException", {"targetId": "shop"}),
        ("GetDeploymentTarget", "InvalidDeploymentIdException", {"deploymentId": NOT_AN_ID, "targetId": "shop"}),
        ("GetDeploymentTarget", "DeploymentDoesNotExistException", {"deploymentId": UNKNOWN, "targetId": "shop"}),
        ("GetDeploymentTarget", "DeploymentTargetIdRequiredException", {"deploymentId": "of shop"}),
        ("GetDeploymentTarget", "DeploymentTargetDoesNotExistException", {"deploymentId": "of shop", "targetId": "none"}),
        ("ListDeploymentTargets", "DeploymentIdRequiredException", {}),
        ("ListDeploymentTargets", "InvalidDeploymentIdException", {"deploymentId": NOT_AN_ID}),
        ("ListDeploymentTargets", "DeploymentDoesNotExistException", {"deploymentId": UNKNOWN}),
        ("ListDeploymentTargets", "InvalidNextTokenException", {"deploymentId": "of shop", "nextToken": "x"}),
        ("StopDeployment", "DeploymentIdRequiredException", {}),
        ("StopDeployment", "InvalidDeploymentIdException", {"deploymentId": NOT_AN_ID}),
        ("StopDeployment", "DeploymentDoesNotExistException", {"deploymentId": UNKNOWN}),
        ("StopDeployment", "DeploymentAlreadyCompletedException", {"deploymentId": "of shop"}),
        ("PutLifecycleEventHookExecutionStatus", "DeploymentIdRequiredException", ANSWER),
        ("PutLifecycleEventHookExecutionStatus", "InvalidDeploymentIdException", {"deploymentId": NOT_AN_ID, **ANSWER}),
        ("PutLifecycleEventHookExecutionStatus", "DeploymentDoesNotExistException", {"deploymentId": UNKNOWN, **ANSWER}),
        ("PutLifecycleEventHookExecutionStatus", "InvalidLifecycleEventHookExecutionIdException", {"deploymentId": "of shop", **ANSWER}),
        ("PutLifecycleEventHookExecutionStatus", "InvalidLifecycleEventHookExecutionStatusException",
         {"deploymentId": "of shop", **ANSWER, "status": "Perhaps"}),
        ("PutLifecycleEventHookExecutionStatus", "UnsupportedActionForDeploymentTypeException", {"deploymentId": "of server", **ANSWER}),
    ],
    "cloudwatch": [
        ("PutMetricData", "MissingParameter", {"MetricData": [{"MetricName": "M", "Value": 1}]}),
        ("PutMetricData", "InvalidParameterValue", {"Namespace": "N", "MetricData": [{"MetricName": "M", "Value": 1, "StorageResolution": 7}]}),
        ("PutMetricData", "InvalidParameterCombination", {"Namespace": "N", "MetricData": [{"MetricName": "M", "Value": 1, "Values": [1]}]}),
        ("GetMetricData", "InvalidNextToken", {"NextToken": "x", "StartTime": LATER_EARLIER["end"], "EndTime": LATER_EARLIER["start"],
                                               "MetricDataQueries": [{"Id": "m", "Expression": "1"}]}),
        ("DescribeAlarms", "InvalidNextToken", {"NextToken": "x"}),
        ("DeleteAlarms", "ResourceNotFound", {"AlarmNames": ["none"]}),
        ("SetAlarmState", "ResourceNotFound", {"AlarmName": "none", "StateValue": "OK", "StateReason": "x"}),
        ("SetAlarmState", "InvalidFormat", {"AlarmName": "conformance", "StateValue": "OK", "StateReason": "x", "StateReasonData": "{"}),
    ],
}

# Provoked by the checks of drive.py that have a running deployment.
ELSEWHERE = {
    "codedeploy": {"CreateDeployment": ["DeploymentLimitExceededException"],
                   "PutLifecycleEventHookExecutionStatus": ["LifecycleEventAlreadyCompletedException"]},
    "cloudwatch": {},
}

# Operations of the emulator without an error that can be provoked; the others are those of PROVOKED.
OTHERS = {"codedeploy": [], "cloudwatch": ["PutMetricAlarm", "PutCompositeAlarm", "EnableAlarmActions", "DisableAlarmActions"]}

# Errors that do not come from the emulator in this run, by the reason. `Operation:Error` is about one operation.
NEVER = {
    "codedeploy": {
        "the emulator has no EC2, on-premises or Auto Scaling deployments": [
            "InvalidEC2TagException", "InvalidEC2TagCombinationException", "InvalidOnPremisesTagCombinationException", "InvalidTagException",
            "TagSetListLimitExceededException", "InvalidAutoScalingGroupException", "InvalidAutoScalingGroupProcessToSuspendException",
            "LifecycleHookLimitExceededException", "InvalidTargetInstancesException", "InvalidFileExistsBehaviorException",
            "InvalidUpdateOutdatedInstancesOnlyValueException", "InvalidIgnoreApplicationStopFailuresValueException",
            "InvalidMinimumHealthyHostValueException", "InvalidZonalDeploymentConfigurationException", "InvalidInstanceNameException",
            "InvalidInstanceStatusException", "InvalidInstanceTypeException", "InvalidDeploymentInstanceTypeException",
            "InvalidTargetFilterNameException", "InvalidBlueGreenDeploymentConfigurationException", "InvalidLoadBalancerInfoException"],
        "nor ECS deployments": ["InvalidECSServiceException", "InvalidTargetGroupPairException", "ECSServiceMappingLimitExceededException"],
        "nor GitHub, triggers, tags and deployments from outside": [
            "InvalidGitHubAccountTokenException", "InvalidTriggerConfigException", "TriggerTargetsLimitExceededException",
            "InvalidTagsToAddException", "InvalidExternalIdException"],
        "nor limits on what an account has": [
            "ApplicationLimitExceededException", "DeploymentGroupLimitExceededException", "DeploymentConfigLimitExceededException"],
        "it does not look at these members": ["InvalidRoleException", "InvalidDeploymentStyleException", "InvalidInputException"],
        "it throttles only where a scenario says so": ["ThrottlingException"],
        "where nothing is made, a name that cannot be is one that does not exist": [
            "InvalidApplicationNameException", "CreateDeployment:InvalidDeploymentGroupNameException",
            "GetDeploymentGroup:InvalidDeploymentGroupNameException", "ListDeployments:InvalidDeploymentGroupNameException",
            "GetDeploymentConfig:InvalidDeploymentConfigNameException", "GetDeploymentTarget:InvalidDeploymentTargetIdException"],
        "nothing is deleted or renamed": [
            "GetDeploymentGroup:DeploymentConfigDoesNotExistException", "ListDeploymentTargets:ApplicationDoesNotExistException",
            "ListDeploymentTargets:DeploymentGroupDoesNotExistException", "StopDeployment:DeploymentGroupDoesNotExistException",
            "UpdateDeploymentGroup:DeploymentGroupAlreadyExistsException"],
        "checked when the configuration or the application was made": [
            "CreateDeployment:InvalidTrafficRoutingConfigurationException", "CreateDeploymentGroup:InvalidTrafficRoutingConfigurationException",
            "UpdateDeploymentGroup:InvalidTrafficRoutingConfigurationException", "CreateDeployment:InvalidComputePlatformException",
            "GetDeploymentConfig:InvalidComputePlatformException"],
        "only in the moment before a deployment starts: the emulator's own tests": ["DeploymentNotStartedException"],
        "the documentation does not say when": ["StopDeployment:UnsupportedActionForDeploymentTypeException"],
    },
    "cloudwatch": {
        "the emulator has no such failures": ["InternalServiceError"],
        "it lets alarms of composite alarms be deleted": ["ResourceConflict"],
        "an account has room for 5,000 alarms": ["LimitExceeded"],
    },
}


def arrange(codedeploy, shop_deployment):
    """Deployment ids by the words that stand for them in PROVOKED. Makes one for EC2, to which hooks do not apply."""
    codedeploy.create_application(applicationName="server", computePlatform="Server")
    codedeploy.create_deployment_group(applicationName="server", deploymentGroupName="live", **ROLE)
    location = {"bucket": "b", "key": "k", "bundleType": "zip"}
    made = codedeploy.create_deployment(applicationName="server", deploymentGroupName="live",
                                        revision={"revisionType": "S3", "s3Location": location})
    return {"of shop": shop_deployment, "of server": made["deploymentId"]}


def provoked(service, ids):
    """Operation, error and arguments, deployments filled in."""
    for operation, error, arguments in PROVOKED[service]:
        yield operation, error, {name: ids.get(value, value) if isinstance(value, str) else value for name, value in arguments.items()}


def forgotten(service, model):
    """Documented errors of the emulator's operations that are neither provoked nor said never to come, by operation."""
    said = {error for errors in NEVER[service].values() for error in errors}
    left = {}
    for operation in sorted({operation for operation, _, _ in PROVOKED[service]} | set(OTHERS[service])):
        codes = {shape.metadata.get("error", {}).get("code", shape.name) for shape in model.operation_model(operation).error_shapes}
        codes -= {error for of, error, _ in PROVOKED[service] if of == operation} | set(ELSEWHERE[service].get(operation, []))
        codes = {code for code in codes if code not in said and f"{operation}:{code}" not in said}
        if codes:
            left[operation] = sorted(codes)
    return left
