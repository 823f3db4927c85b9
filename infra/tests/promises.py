"""What the SAM templates promise beyond being valid: wiring that no linter knows. Run by `make infra-test`.

The templates are transformed as AWS does it, so that this reads what CloudFormation gets. What each function may call is compared
with what it does by the rehearsals (`make test`), not here.
"""

import json
import pathlib
import re
import unittest

import boto3
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.managed_policy_translator import ManagedPolicyLoader
from samtranslator.translator.transform import transform

INFRA = pathlib.Path(__file__).resolve().parent.parent
FUNCTIONS = {
    # logical id: name, time-out, retries, age of events, destination of failed events, reserved concurrency
    "BeforeAllowTraffic": ("CodeDeployHook_snapback-before-allow-traffic", 900, 0, 60, "HookWatchdog", 50),
    "AfterAllowTraffic": ("CodeDeployHook_snapback-after-allow-traffic", 60, 0, 60, "HookWatchdog", 50),
    "AlarmHandler": ("snapback-alarm-handler", 30, 2, 3600, "DeadLetters", 20),
    "DeploymentRecorder": ("snapback-deployment-recorder", 60, 2, 3600, "DeadLetters", 10),
    "Watcher": ("snapback-watcher", 90, 0, 60, None, 2),
    "HookWatchdog": ("snapback-hook-watchdog", 60, 2, 3600, "DeadLetters", 20),
}
RULES = {"AlarmsRule": "AlarmHandler", "DeploymentsRule": "DeploymentRecorder", "SweepRule": "Watcher"}
# Lines of the example that a service adds; the README says so.
LINES_MAX = 15


class NoManagedPolicies(ManagedPolicyLoader):
    """The templates name managed policies by ARN only where SAM itself adds them."""

    def __init__(self):
        super().__init__(boto3.client("iam"))

    def load(self):
        return {}


def resources(path):
    """Resources of a SAM template as CloudFormation gets them."""
    fragment = yaml_parse(path.read_text())
    parameters = {name: value.get("Default", "") for name, value in fragment.get("Parameters", {}).items()}
    parameters["AWS::Region"] = "eu-west-1"
    # CodeUri is a folder until the package is made.
    for resource in fragment["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function" and "CodeUri" in resource["Properties"]:
            resource["Properties"]["CodeUri"] = "s3://bucket/key"
    return transform(fragment, parameters, NoManagedPolicies())["Resources"]


def get_att(logical_id, attribute):
    return {"Fn::GetAtt": [logical_id, attribute]}


def of_type(all_resources, kind):
    return {name: r["Properties"] for name, r in all_resources.items() if r["Type"] == kind}


def statements(role):
    document = role["Policies"][0]["PolicyDocument"]
    return [statement for statement in document["Statement"] if "Fn::If" not in statement]


def actions(statement):
    found = statement["Action"]
    return [found] if isinstance(found, str) else found


class Installation(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.all = resources(INFRA / "sam/template.yaml")

    def test_functions(self):
        functions = of_type(self.all, "AWS::Lambda::Function")
        self.assertEqual(set(functions), set(FUNCTIONS))
        configs = {c["FunctionName"]["Ref"]: c for c in of_type(self.all, "AWS::Lambda::EventInvokeConfig").values()}
        for logical_id, (name, timeout, retries, age, destination, reserved) in FUNCTIONS.items():
            function, config = functions[logical_id], configs[logical_id]
            with self.subTest(name):
                self.assertEqual(function["FunctionName"], name)
                self.assertEqual(function["Timeout"], timeout)
                self.assertEqual(function["Runtime"], "provided.al2023")
                self.assertEqual(function["Architectures"], [{"Ref": "Architecture"}])
                self.assertEqual(function["Role"], get_att(f"{logical_id}Role", "Arn"))
                self.assertEqual(function["ReservedConcurrentExecutions"]["Fn::If"][:2], ["Reserve", reserved])
                self.assertEqual((config["MaximumRetryAttempts"], config["MaximumEventAgeInSeconds"]), (retries, age))
                found = config.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
                self.assertEqual(found, destination and get_att(destination, "Arn"))

    def test_no_role_is_shared_and_no_function_moves_traffic(self):
        roles = of_type(self.all, "AWS::IAM::Role")
        self.assertEqual(set(roles), {f"{name}Role" for name in FUNCTIONS} | {"SchedulerRole"})
        for name, role in roles.items():
            self.assertNotIn("ManagedPolicyArns", role, name)
            for statement in statements(role):
                for action in actions(statement):
                    self.assertNotIn("*", action, name)
                    self.assertNotIn(action, ["lambda:UpdateAlias", "cloudwatch:PutMetricData"], name)

    def test_what_no_rehearsal_sees(self):
        """Logs, and the destinations of events that a function failed: AWS does these itself, in the function's role."""
        for logical_id, (_, _, _, _, destination, _) in FUNCTIONS.items():
            by_sid = {s["Sid"]: s for s in statements(self.all[f"{logical_id}Role"]["Properties"])}
            with self.subTest(logical_id):
                logs = by_sid["Logs"]
                self.assertEqual(actions(logs), ["logs:CreateLogStream", "logs:PutLogEvents"])
                self.assertEqual(logs["Resource"], get_att(f"{logical_id}Logs", "Arn"))
                action = {"HookWatchdog": "lambda:InvokeFunction", "DeadLetters": "sqs:SendMessage"}.get(destination)
                self.assertEqual(by_sid.get("OnFailure", {}).get("Action"), action)
                if destination:
                    self.assertEqual(by_sid["OnFailure"]["Resource"], get_att(destination, "Arn"))

    def test_stars_are_explained(self):
        text = (INFRA / "sam/template.yaml").read_text().splitlines()
        for number, line in enumerate(text):
            if line.strip() == 'Resource: "*"':
                before = "\n".join(text[number - 10 : number])
                self.assertRegex(before, r"# `\*` is AWS's doing: ", f"line {number + 1}")

    def test_rules(self):
        rules = of_type(self.all, "AWS::Events::Rule")
        self.assertEqual(set(rules), set(RULES))
        permissions = of_type(self.all, "AWS::Lambda::Permission").values()
        for name, function in RULES.items():
            with self.subTest(name):
                (target,) = rules[name]["Targets"]
                self.assertEqual(target["Arn"], get_att(function, "Arn"))
                self.assertEqual(target["DeadLetterConfig"], {"Arn": get_att("DeadLetters", "Arn")})
                retries = {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60} if name == "SweepRule" else {
                    "MaximumRetryAttempts": 20, "MaximumEventAgeInSeconds": 3600,
                }
                self.assertEqual(target["RetryPolicy"], retries)
                allowed = [p for p in permissions if p.get("SourceArn") == get_att(name, "Arn")]
                self.assertEqual([p["FunctionName"] for p in allowed], [{"Ref": function}])
        direct = [p for p in permissions if p["Principal"] == "lambda.alarms.cloudwatch.amazonaws.com"]
        self.assertEqual([p["FunctionName"] for p in direct], [{"Ref": "AlarmHandler"}])
        self.assertEqual([p["SourceAccount"] for p in direct], [{"Ref": "AWS::AccountId"}])

    def test_dead_letters_may_come_from_each_rule(self):
        policy = self.all["DeadLettersPolicy"]["Properties"]["PolicyDocument"]["Statement"][0]
        self.assertEqual(policy["Principal"], {"Service": "events.amazonaws.com"})
        sources = policy["Condition"]["ArnEquals"]["aws:SourceArn"]
        self.assertEqual(sources, [get_att(name, "Arn") for name in RULES])

    def test_logs_expire(self):
        groups = of_type(self.all, "AWS::Logs::LogGroup")
        names = {f"/aws/lambda/{name}" for name, *_ in FUNCTIONS.values()}
        self.assertEqual({group["LogGroupName"] for group in groups.values()}, names)
        for group in groups.values():
            self.assertEqual(group["RetentionInDays"], {"Ref": "LogRetentionDays"})

    def test_alarms_on_snapback_reach_people(self):
        alarms = of_type(self.all, "AWS::CloudWatch::Alarm")
        names = {alarm["AlarmName"] for alarm in alarms.values()}
        expected = {"errors", "throttles", "lost-hooks", "dead-letters", "heartbeat-gone"}
        self.assertEqual(names, {f"snapback-{name}" for name in expected})
        for name, alarm in alarms.items():
            self.assertEqual(alarm["AlarmActions"], [{"Ref": "Topic"}], name)
        for name in ("ErrorsAlarm", "ThrottlesAlarm"):
            watched = [q["MetricStat"]["Metric"] for q in alarms[name]["Metrics"] if "MetricStat" in q]
            functions = {metric["Dimensions"][0]["Value"]["Ref"] for metric in watched}
            self.assertEqual(functions, set(FUNCTIONS), name)
            self.assertEqual({metric["MetricName"] for metric in watched}, {name.removesuffix("Alarm")})

    def test_alarms_may_publish(self):
        policy = self.all["TopicPolicy"]["Properties"]
        self.assertEqual(policy["Topics"], [{"Ref": "Topic"}])
        alarms = policy["PolicyDocument"]["Statement"][0]
        self.assertEqual((alarms["Effect"], alarms["Action"]), ("Allow", "sns:Publish"))
        self.assertEqual(alarms["Principal"], {"Service": "cloudwatch.amazonaws.com"})
        self.assertEqual(alarms["Resource"], {"Ref": "Topic"})
        self.assertEqual(alarms["Condition"], {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}})

    def test_dashboard(self):
        body = self.all["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
        widgets = json.loads(re.sub(r"\$\{[^}]+\}", "x", body))["widgets"]
        taken = set()
        for widget in widgets:
            self.assertLessEqual(widget["x"] + widget["width"], 24)
            for x in range(widget["x"], widget["x"] + widget["width"]):
                for y in range(widget["y"], widget["y"] + widget["height"]):
                    self.assertNotIn((x, y), taken, "widgets lie over one another")
                    taken.add((x, y))
        for logical_id in FUNCTIONS:
            self.assertEqual(body.count(f"${{{logical_id}}}"), 3, logical_id)

    def test_record_survives_the_stack(self):
        self.assertEqual(self.all["Table"]["DeletionPolicy"], "RetainExceptOnCreate")
        table = self.all["Table"]["Properties"]
        self.assertTrue(table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"])
        self.assertEqual(table["TimeToLiveSpecification"], {"AttributeName": "expires_at", "Enabled": True})


class Example(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.path = INFRA / "sam/example/template.yaml"
        cls.all = resources(cls.path)
        cls.protection = cls.all["CheckoutProtection"]["Properties"]
        cls.protect = json.loads((cls.path.parent / cls.protection["TemplateURL"]).read_text())

    def test_few_lines(self):
        marked = re.findall(r"^ .*#\+( .*)?$", self.path.read_text(), re.MULTILINE)
        self.assertLessEqual(len(marked), LINES_MAX)
        self.assertGreater(len(marked), 5, "the marks are gone")

    def test_the_readme_shows_them(self):
        readme = (INFRA.parent / "README.md").read_text()
        for line in self.path.read_text().splitlines():
            if "#+" in line and not line.startswith("#"):
                # The example takes the template from this repository; a reader has a copy beside his own.
                text = line.split("#+")[0].rstrip().rstrip(",").replace("../../protect/", "")
                self.assertIn(text, readme)

    def test_only_the_two_alarms_are_attached_by_their_names(self):
        group = of_type(self.all, "AWS::CodeDeploy::DeploymentGroup")["CheckoutDeploymentGroup"]
        config = group["AlarmConfiguration"]
        self.assertTrue(config["Enabled"])
        attached = [alarm["Name"]["Fn::Sub"] for alarm in config["Alarms"]]
        name = self.protection["Parameters"]["Name"]["Fn::Sub"]
        own = [
            alarm["Properties"]["AlarmName"]["Fn::Sub"]
            for alarm in self.protect["Resources"].values()
            if alarm["Type"] == "AWS::CloudWatch::Alarm"
            and alarm["Properties"]["AlarmName"]["Fn::Sub"].startswith("snapback-")
        ]
        self.assertEqual(sorted(attached), sorted(text.replace("${Name}", name) for text in own))
        self.assertEqual(
            group["AutoRollbackConfiguration"],
            {
                "Enabled": True,
                "Events": ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"],
            },
        )

    def test_hooks_and_policy(self):
        alias = next(r for r in self.all.values() if r["Type"] == "AWS::Lambda::Alias")
        update = alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
        self.assertEqual(update["BeforeAllowTrafficHook"], FUNCTIONS["BeforeAllowTraffic"][0])
        self.assertEqual(update["AfterAllowTrafficHook"], FUNCTIONS["AfterAllowTraffic"][0])
        given = self.protection["Parameters"]
        self.assertEqual(given["Application"], {"Ref": "ServerlessDeploymentApplication"})
        self.assertEqual(given["Group"], {"Ref": "CheckoutDeploymentGroup"})
        self.assertIn("CheckoutProtection", self.all["Checkout"]["DependsOn"])
        tags = {tag["Key"]: tag["Value"] for tag in self.all["Checkout"]["Properties"]["Tags"]}
        self.assertEqual(tags.get("snapback"), "protected")

    def test_parameters_of_the_protection(self):
        given, known = self.protection["Parameters"], self.protect["Parameters"]
        self.assertEqual(set(given) - set(known), set(), "unknown parameters")
        required = {name for name, parameter in known.items() if "Default" not in parameter}
        self.assertEqual(required - set(given), set(), "missing parameters")


if __name__ == "__main__":
    unittest.main()
