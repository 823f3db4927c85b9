"""The demo service of `snapback emulator`: version 1 serves, version 2 is bad, version 3 is good."""

import json

from common import equal, until

HOOKS = [{"BeforeAllowTraffic": "CodeDeployHook_snapback-before-allow-traffic"},
         {"AfterAllowTraffic": "CodeDeployHook_snapback-after-allow-traffic"}]


def revision(function, current, target, hooks=()):
    spec = {"version": 0.0,
            "Resources": [{function: {"Type": "AWS::Lambda::Function", "Properties": {
                "Name": function, "Alias": "live", "CurrentVersion": current, "TargetVersion": target}}}],
            "Hooks": list(hooks)}
    return {"revisionType": "AppSpecContent", "appSpecContent": {"content": json.dumps(spec)}}


class Shop:
    """The service through the clients that `client` makes, for example `lambda service: boto3.client(service)`."""

    def __init__(self, client):
        self.codedeploy, self.functions, self.dynamodb = client("codedeploy"), client("lambda"), client("dynamodb")

    def deploy(self, target):
        made = self.codedeploy.create_deployment(applicationName="checkout", deploymentGroupName="checkout-live",
                                                 revision=revision("checkout", self.live(), target, HOOKS))
        return made["deploymentId"]

    def live(self):
        return self.functions.get_alias(FunctionName="checkout", Name="live")["FunctionVersion"]

    def status(self, deployment):
        return self.codedeploy.get_deployment(deploymentId=deployment)["deploymentInfo"]

    def record(self, deployment):
        """The items of a deployment by their sort key."""
        items = self.dynamodb.query(TableName="snapback", ConsistentRead=True, KeyConditionExpression="pk = :pk",
                                    ExpressionAttributeValues={":pk": {"S": f"DEPLOYMENT#{deployment}"}})["Items"]
        return {item["sk"]["S"]: item for item in items}

    def outcome(self, deployment):
        return self.record(deployment).get("STATE", {}).get("outcome", {}).get("S")

    def play_bad_version(self):
        """Deploys the bad version and waits until it is undone; the record."""
        deployment = self.deploy("2")
        try:
            info = until("the stop", lambda: self.status(deployment)["status"] == "Stopped" and self.status(deployment))
        except AssertionError as error:
            seen = [self.status(deployment), self.record(deployment)]
            raise AssertionError(f"{error}; status and record: {json.dumps(seen, default=str)}") from error
        until("the rollback", lambda: self.status(info["rollbackInfo"]["rollbackDeploymentId"])["status"] == "Succeeded", 30)
        equal(self.live(), "1", "alias")
        equal(until("the record", lambda: self.outcome(deployment), 30), "rolled-back-in-shift", "outcome")
        return deployment, self.record(deployment)

    def play_good_version(self):
        """Deploys the good version and waits until it is promoted; the record."""
        deployment = self.deploy("3")
        until("success", lambda: self.status(deployment)["status"] == "Succeeded", 120)
        equal(self.live(), "3", "alias")
        equal(until("the record", lambda: self.outcome(deployment), 30), "promoted", "outcome")
        return deployment, self.record(deployment)
