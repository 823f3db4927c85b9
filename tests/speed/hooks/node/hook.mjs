// A hook BeforeAllowTraffic as a team writes it with the AWS SDK for JavaScript: for comparison with Snapback's, whose checks and
// AWS calls it makes. bench-coldstart refuses to compare when the calls differ.

import http from "node:http";
import { CloudWatchClient, DescribeAlarmsCommand } from "@aws-sdk/client-cloudwatch";
import {
  CodeDeployClient,
  GetApplicationRevisionCommand,
  GetDeploymentCommand,
  GetDeploymentConfigCommand,
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
  await put(deployment, "HOOK", { execution }, { ConditionExpression: "attribute_not_exists(pk)" });
  const facts = await look(deployment);
  await record(deployment, facts);
  const known = await partition(`DEPLOYMENT#${deployment}`);
  const problems = known.length === 0 ? ["the record is gone"] : [];
  for (const [name, state] of Object.entries(facts.alarms)) {
    if (state === "ALARM") problems.push(`${name} is red`);
  }
  problems.push(...(await probe(facts)));
  const status = problems.length > 0 ? "Failed" : "Succeeded";
  const why = problems.join("; ") || "all checks passed";
  await write(
    item(deployment, "STATE", { phase: status, version: 3 }),
    item(deployment, eventKey("check"), { text: why }),
  );
  await put(deployment, "HOOK", { execution, result: status });
  await codedeploy.send(
    new PutLifecycleEventHookExecutionStatusCommand({
      deploymentId: deployment,
      lifecycleEventHookExecutionId: execution,
      status,
    }),
  );
  await put(deployment, "HOOK", { execution, result: status, answered: status });
  await put(deployment, eventKey("answer"), { text: `answered ${status}: ${why}` });
}

// What is deployed, under which policy, and how its alarms are.
async function look(deployment) {
  const { deploymentInfo: info } = await codedeploy.send(new GetDeploymentCommand({ deploymentId: deployment }));
  const { applicationName: application, deploymentGroupName: group } = info;
  const { sha256 } = info.revision.appSpecContent;
  const [ofGroup, ofRevision, config, ofPolicy, history] = await Promise.all([
    codedeploy.send(new GetDeploymentGroupCommand({ applicationName: application, deploymentGroupName: group })),
    codedeploy.send(
      new GetApplicationRevisionCommand({
        applicationName: application,
        revision: { revisionType: "AppSpecContent", appSpecContent: { sha256 } },
      }),
    ),
    codedeploy.send(new GetDeploymentConfigCommand({ deploymentConfigName: info.deploymentConfigName })),
    ssm.send(new GetParameterCommand({ Name: `${POLICIES}/${application}/${group}` })),
    partition(`GROUP#${application}/${group}`),
  ]);
  const policy = JSON.parse(ofPolicy.Parameter.Value);
  const spec = JSON.parse(ofRevision.revision.appSpecContent.content);
  const target = Object.values(spec.Resources[0])[0].Properties;
  const onGroup = (ofGroup.deploymentGroupInfo.alarmConfiguration?.alarms ?? []).map((alarm) => alarm.name);
  const names = Object.values(policy.signals).flatMap((signal) => signal.alarms ?? []);
  names.push(...onGroup.filter((name) => !name.startsWith("snapback-")));
  const version = (Qualifier) =>
    functions.send(new GetFunctionConfigurationCommand({ FunctionName: target.Name, Qualifier }));
  const [old, next, alarms] = await Promise.all([
    version(target.CurrentVersion),
    version(target.TargetVersion),
    cloudwatch.send(new DescribeAlarmsCommand({ AlarmNames: names, AlarmTypes: ["MetricAlarm", "CompositeAlarm"] })),
  ]);
  return {
    policy,
    target,
    application,
    group,
    config: config.deploymentConfigInfo,
    good: history.filter((known) => known.sk.S.startsWith("GOOD#")),
    versions: [old.CodeSha256, next.CodeSha256],
    alarms: Object.fromEntries(alarms.MetricAlarms.map((alarm) => [alarm.AlarmName, alarm.StateValue])),
  };
}

// Puts the deployment on record; the version that serves is a good one when no other is known.
async function record(deployment, facts) {
  const state = { phase: "BeforeTraffic", version: 1, revisions: JSON.stringify(facts.versions) };
  await write(
    item(deployment, "STATE", state),
    item(deployment, "POLICY", { document: JSON.stringify(facts.policy) }),
    ...Object.entries(facts.alarms).map(([name, now]) => item(`ALARM#${name}`, `DEPLOYMENT#${deployment}`, { state: now })),
  );
  if (facts.good.length === 0) {
    await write(
      item(deployment, "STATE", { ...state, version: 2 }),
      item(`GROUP#${facts.application}/${facts.group}`, `GOOD#${digits()}`, { version: facts.target.CurrentVersion }),
    );
  }
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

async function partition(key) {
  const answer = await dynamodb.send(
    new QueryCommand({
      TableName,
      ConsistentRead: true,
      KeyConditionExpression: "pk = :pk",
      ExpressionAttributeValues: { ":pk": { S: key } },
    }),
  );
  return answer.Items;
}

function put(deployment, sortKey, attributes, more = {}) {
  return dynamodb.send(new PutItemCommand({ TableName, Item: item(deployment, sortKey, attributes), ...more }));
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
