// A hook BeforeAllowTraffic as a team writes it with the AWS SDK for JavaScript: for comparison with Snapback's, whose checks and
// AWS calls it makes. bench-coldstart refuses to compare when the calls differ.

import http from "node:http";
import { CloudWatchClient, DescribeAlarmsCommand } from "@aws-sdk/client-cloudwatch";
import {
  CodeDeployClient,
  GetApplicationRevisionCommand,
  GetDeploymentCommand,
  GetDeploymentGroupCommand,
  PutLifecycleEventHookExecutionStatusCommand,
} from "@aws-sdk/client-codedeploy";
import { DynamoDBClient, PutItemCommand, QueryCommand, TransactWriteItemsCommand } from "@aws-sdk/client-dynamodb";
import { GetFunctionConfigurationCommand, InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { GetParameterCommand, SSMClient } from "@aws-sdk/client-ssm";

const cloudwatch = new CloudWatchClient();
const codedeploy = new CodeDeployClient();
const dynamodb = new DynamoDBClient();
const functions = new LambdaClient();
const ssm = new SSMClient();

const TableName = process.env.SNAPBACK_TABLE;
const POLICIES = process.env.SNAPBACK_POLICY_PREFIX;

export async function handler(event) {
  const { DeploymentId: deployment, LifecycleEventHookExecutionId: execution } = event;
  await dynamodb.send(
    new PutItemCommand({
      TableName,
      Item: item(deployment, "HOOK", { execution }),
      ConditionExpression: "attribute_not_exists(pk)",
    }),
  );
  const facts = await look(deployment);
  await record(deployment, facts);
  const red = Object.entries(facts.alarms).filter(([, state]) => state === "ALARM");
  const problems = [...red.map(([name]) => `${name} is red`), ...(await probe(facts))];
  const status = problems.length > 0 ? "Failed" : "Succeeded";
  const why = problems.join("; ") || "all checks passed";
  await write(
    item(deployment, "STATE", { phase: status, version: 2 }),
    item(deployment, "HOOK", { execution, result: status }),
    item(deployment, eventKey("check"), { text: why }),
  );
  await codedeploy.send(
    new PutLifecycleEventHookExecutionStatusCommand({
      deploymentId: deployment,
      lifecycleEventHookExecutionId: execution,
      status,
    }),
  );
  await write(
    item(deployment, "HOOK", { execution, result: status, answered: status }),
    item(deployment, eventKey("answer"), { text: `answered ${status}: ${why}` }),
  );
}

// What is deployed, under which policy, and how its alarms are. Asks the services side by side.
async function look(deployment) {
  const { deploymentInfo: info } = await codedeploy.send(new GetDeploymentCommand({ deploymentId: deployment }));
  const { applicationName: application, deploymentGroupName: group } = info;
  const [[ofGroup, ofRevision], ofPolicy, history] = await Promise.all([
    ofCodeDeploy(application, group, info.revision.appSpecContent.sha256),
    ssm.send(new GetParameterCommand({ Name: `${POLICIES}/${application}/${group}` })),
    dynamodb.send(
      new QueryCommand({
        TableName,
        ConsistentRead: true,
        KeyConditionExpression: "pk = :pk",
        ExpressionAttributeValues: { ":pk": { S: `GROUP#${application}/${group}` } },
      }),
    ),
  ]);
  const policy = JSON.parse(ofPolicy.Parameter.Value);
  const spec = JSON.parse(ofRevision.revision.appSpecContent.content);
  const target = Object.values(spec.Resources[0])[0].Properties;
  const onGroup = (ofGroup.deploymentGroupInfo.alarmConfiguration?.alarms ?? []).map((alarm) => alarm.name);
  const names = Object.values(policy.signals).flatMap((signal) => signal.alarms ?? []);
  names.push(...onGroup.filter((name) => !name.startsWith("snapback-")));
  const [versions, alarms] = await Promise.all([
    ofVersions(target),
    cloudwatch.send(new DescribeAlarmsCommand({ AlarmNames: names, AlarmTypes: ["MetricAlarm", "CompositeAlarm"] })),
  ]);
  return {
    policy,
    target,
    application,
    group,
    good: history.Items.filter((known) => known.sk.S.startsWith("GOOD#")),
    versions,
    alarms: Object.fromEntries(alarms.MetricAlarms.map((alarm) => [alarm.AlarmName, alarm.StateValue])),
  };
}

async function ofCodeDeploy(applicationName, deploymentGroupName, sha256) {
  const group = await codedeploy.send(new GetDeploymentGroupCommand({ applicationName, deploymentGroupName }));
  const revision = { revisionType: "AppSpecContent", appSpecContent: { sha256 } };
  return [group, await codedeploy.send(new GetApplicationRevisionCommand({ applicationName, revision }))];
}

async function ofVersions({ Name: FunctionName, CurrentVersion, TargetVersion }) {
  const versions = [];
  for (const Qualifier of [CurrentVersion, TargetVersion]) {
    const version = await functions.send(new GetFunctionConfigurationCommand({ FunctionName, Qualifier }));
    versions.push(version.CodeSha256);
  }
  return versions;
}

// Puts the deployment on record; the version that serves is a good one when no other is known.
async function record(deployment, facts) {
  const items = [
    item(deployment, "STATE", { phase: "BeforeTraffic", version: 1, revisions: JSON.stringify(facts.versions) }),
    item(deployment, "POLICY", { document: JSON.stringify(facts.policy) }),
  ];
  for (const [name, state] of Object.entries(facts.alarms)) {
    items.push(item(`ALARM#${name}`, `DEPLOYMENT#${deployment}`, { state }));
  }
  if (facts.good.length === 0) {
    const good = { version: facts.target.CurrentVersion };
    items.push(item(`GROUP#${facts.application}/${facts.group}`, `GOOD#${digits()}`, good));
  }
  await write(...items);
}

// Asks the new version as the policy says; what is wrong with its answers.
async function probe(facts) {
  const problems = [];
  for (const { invoke } of facts.policy.before_traffic.probes) {
    for (let call = 0; call < (invoke.times ?? 1); call++) {
      const answer = await functions.send(
        new InvokeCommand({
          FunctionName: facts.target.Name,
          Qualifier: facts.target.TargetVersion,
          Payload: JSON.stringify(invoke.payload),
        }),
      );
      const body = JSON.parse(answer.Payload.transformToString());
      if (answer.FunctionError || body.statusCode !== invoke.expect.status) {
        problems.push(`a probe answered ${JSON.stringify(body)}, expected status ${invoke.expect.status}`);
      }
    }
  }
  return problems;
}

function write(...items) {
  return dynamodb.send(
    new TransactWriteItemsCommand({ TransactItems: items.map((Item) => ({ Put: { TableName, Item } })) }),
  );
}

function item(key, sortKey, attributes) {
  const typed = Object.entries(attributes).map(([name, value]) => [
    name,
    typeof value === "number" ? { N: String(value) } : { S: value },
  ]);
  return { pk: { S: key.includes("#") ? key : `DEPLOYMENT#${key}` }, sk: { S: sortKey }, ...Object.fromEntries(typed) };
}

function eventKey(kind) {
  return `EVENT#${digits()}#${kind}`;
}

function digits() {
  return String(Date.now()).padStart(13, "0");
}

// ---- The Runtime API, as AWS's own client speaks it. That one (aws-lambda-ric) has to be compiled with cmake and autotools, and
// costs a few milliseconds more.

const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function call(method, path, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({ hostname, port, agent, method, path: `/2018-06-01/runtime${path}` }, (answer) => {
      const pieces = [];
      answer.on("data", (piece) => pieces.push(piece));
      answer.on("end", () => resolve({ headers: answer.headers, body: Buffer.concat(pieces).toString() }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

for (;;) {
  const next = await call("GET", "/invocation/next");
  const path = `/invocation/${next.headers["lambda-runtime-aws-request-id"]}`;
  try {
    await call("POST", `${path}/response`, JSON.stringify((await handler(JSON.parse(next.body))) ?? null));
  } catch (error) {
    console.error(error);
    const { name: errorType, message: errorMessage } = error;
    await call("POST", `${path}/error`, JSON.stringify({ errorType, errorMessage }));
  }
}
