import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'node:test';
import { App, Stack, Stage, Tags } from 'aws-cdk-lib';
import { Annotations, Match } from 'aws-cdk-lib/assertions';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { LambdaAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as sns from 'aws-cdk-lib/aws-sns';
import { parse } from 'yaml';
import { Snapback } from 'snapback-cdk';
import { archive, FUNCTIONS, program, standIns, temporaryFolder } from './stand-ins';
import { circle, ofType, only, synthesized } from './synthesized';

const SAM_TEMPLATE = path.join(__dirname, '../../../sam/template.yaml');
const binaries = standIns();

function stackIn(scope: App | Stage = new App(), region = 'eu-central-1'): Stack {
  return new Stack(scope, `Installation-${region}`, { env: { region, account: '111122223333' } });
}

/** The SAM template as people read it, with these answers of its conditions and these values of its parameters. */
function samTemplate(answers: Record<string, boolean>, parameters: Record<string, unknown>): Record<string, any> {
  const names = ['Ref', 'GetAtt', 'Sub', 'If', 'Equals', 'Not', 'Join'];
  const customTags = names.flatMap((name) => [
    { tag: `!${name}`, resolve: (text: string) => ({ [`!${name}`]: text }) },
    { tag: `!${name}`, collection: 'seq' as const, resolve: (items: any) => ({ [`!${name}`]: items.toJSON() }) },
  ]);
  const resolve = (node: any): any => {
    if (Array.isArray(node)) return node.map(resolve).filter((item) => item !== undefined);
    if (typeof node !== 'object' || node === null) return node;
    const choice = node['!If'] ?? node['Fn::If'];
    if (choice !== undefined) return resolve(answers[choice[0]] ? choice[1] : choice[2]);
    const target = node['!Ref'];
    if (target === 'AWS::NoValue') return undefined;
    if (target !== undefined) return target in parameters ? parameters[target] : { Ref: target };
    if (node['!GetAtt'] !== undefined) return { 'Fn::GetAtt': node['!GetAtt'].split('.') };
    if (node['!Sub'] !== undefined) return { 'Fn::Sub': node['!Sub'] };
    const members = Object.entries(node).map(([name, value]) => [name, resolve(value)]);
    return Object.fromEntries(members.filter(([, value]) => value !== undefined));
  };
  const { Resources, Globals, Outputs, Transform } = parse(fs.readFileSync(SAM_TEMPLATE, 'utf8'), { customTags });
  const existing = Object.entries<any>(Resources).filter(([, { Condition }]) => Condition === undefined || answers[Condition]);
  const resources = existing.map(([id, { Condition, ...resource }]) => [id, resource]);
  return resolve({ Resources: Object.fromEntries(resources), Globals, Outputs, Transform });
}

test('an installation has the resources of the SAM template, whatever its parameters', () => {
  const cases = [
    {
      props: { binaries },
      answers: { HasEmail: false, HasNotifyTopics: false, Reserve: true },
      parameters: { Architecture: 'arm64', LogRetentionDays: 30, OperatorEmail: '', NotifyTopicArns: [] },
    },
    {
      props: {
        binaries: standIns('x86_64'),
        architecture: lambda.Architecture.X86_64,
        operatorEmail: 'on-call@example.com',
        notifyTopics: ['arn:aws:sns:eu-central-1:111122223333:checkout'],
        reserveConcurrency: false,
        logRetention: logs.RetentionDays.ONE_WEEK,
      },
      answers: { HasEmail: true, HasNotifyTopics: true, Reserve: false },
      parameters: {
        Architecture: 'x86_64',
        LogRetentionDays: 7,
        OperatorEmail: 'on-call@example.com',
        NotifyTopicArns: ['arn:aws:sns:eu-central-1:111122223333:checkout'],
      },
    },
  ];
  for (const { props, answers, parameters } of cases) {
    const stack = stackIn();
    const notifyTopics = props.notifyTopics?.map((arn, index) => sns.Topic.fromTopicArn(stack, `Notify${index}`, arn));
    new Snapback(stack, 'Snapback', { ...props, notifyTopics });
    const expected = samTemplate(answers, parameters);
    const template = synthesized(stack);
    assert.deepEqual(Object.keys(template.Resources).sort(), Object.keys(expected['Resources']).sort());
    for (const [id, resource] of Object.entries<any>(expected['Resources'])) {
      const made: any = template.Resources[id];
      if (resource.Type === 'AWS::Serverless::Function') {
        assert.deepEqual(Object.keys(made.Properties.CodeUri), ['Bucket', 'Key'], id);
        made.Properties.CodeUri = resource.Properties.CodeUri;
      }
      assert.deepEqual(made, resource, id);
    }
    for (const section of ['Globals', 'Outputs', 'Transform']) assert.deepEqual(template[section], expected[section], section);
    for (const section of ['Conditions', 'Description']) assert.equal(template[section], undefined, section);
    assert.deepEqual(circle(template.Resources), []);
  }
});

test('each function gets its own binary', () => {
  const app = new App();
  const stack = stackIn(app);
  new Snapback(stack, 'Snapback', { binaries });
  const assembly = app.synth();
  const functions = Object.values(ofType(stack, 'AWS::Serverless::Function'));
  assert.equal(functions.length, FUNCTIONS.length);
  for (const { Properties } of functions) {
    const asset = fs.readFileSync(path.join(assembly.directory, `asset.${Properties['CodeUri'].Key}`));
    const name = Properties['FunctionName'].replace(/^.*snapback-/, '');
    assert.deepEqual(asset, archive(program('arm64', name), 'deflated'));
  }
});

test('installations of two Regions stand in one app, also in a stage', () => {
  const app = new App();
  const stage = new Stage(app, 'Production');
  const stacks = [stackIn(stage, 'eu-central-1'), stackIn(stage, 'us-east-1')];
  for (const stack of stacks) new Snapback(stack, 'Snapback', { binaries });
  const templates = app
    .synth()
    .getNestedAssembly('assembly-Production')
    .stacks.map((stack) => stack.template);
  assert.equal(templates.length, 2);
  for (const { Resources } of templates) assert.equal(Resources.Table.Properties.TableName, 'snapback');
});

test('topics of the same stack may be named, which a condition could not', () => {
  const stack = stackIn();
  new Snapback(stack, 'Snapback', { binaries, notifyTopics: [new sns.Topic(stack, 'CheckoutTopic')] });
  const [topic] = Object.keys(ofType(stack, 'AWS::SNS::Topic')).filter((id) => id !== 'Topic');
  const statements = synthesized(stack).Resources['WatcherRole']?.Properties['Policies'][0].PolicyDocument.Statement;
  assert.deepEqual(statements.at(-1), { Sid: 'TellTeams', Effect: 'Allow', Action: 'sns:Publish', Resource: [{ Ref: topic }] });
});

test('the parts that it shows can be used as any other construct', () => {
  const stack = stackIn();
  const snapback = new Snapback(stack, 'Snapback', { binaries });
  const reader = new iam.User(stack, 'Reader');
  snapback.table.grantReadData(reader);
  snapback.topic.grantPublish(reader);
  snapback.beforeAllowTraffic.grantInvoke(reader);
  snapback.afterAllowTraffic.grantInvoke(reader);
  const alarm = new cloudwatch.Alarm(stack, 'Errors', {
    metric: new cloudwatch.Metric({ namespace: 'Shop', metricName: 'Errors' }),
    threshold: 1,
    evaluationPeriods: 1,
  });
  alarm.addAlarmAction(new LambdaAction(snapback.alarmHandler));
  Tags.of(stack).add('team', 'platform');

  const statements = only(stack, 'AWS::IAM::Policy').Properties['PolicyDocument'].Statement;
  const resources = statements.map((statement: any) => JSON.stringify([statement.Resource].flat()[0]));
  assert.deepEqual(
    [...new Set(resources)],
    [
      '{"Fn::GetAtt":["Table","Arn"]}',
      '{"Ref":"Topic"}',
      '{"Fn::GetAtt":["BeforeAllowTraffic","Arn"]}',
      '{"Fn::GetAtt":["AfterAllowTraffic","Arn"]}',
    ],
  );
  const errors = Object.values(ofType(stack, 'AWS::CloudWatch::Alarm')).find(
    ({ Properties }) => Properties['Namespace'] === 'Shop',
  );
  assert.deepEqual(errors?.Properties['AlarmActions'], [{ 'Fn::GetAtt': ['AlarmHandler', 'Arn'] }]);
  assert.deepEqual(only(stack, 'AWS::DynamoDB::Table').Properties['Tags'], [{ Key: 'team', Value: 'platform' }]);
  Annotations.fromStack(stack).hasNoWarning('*', Match.anyValue());
});

test('errors say what, where and what to do', () => {
  const withSecond = () => {
    const stack = stackIn();
    new Snapback(stack, 'Snapback', { binaries });
    new Snapback(stack, 'Again', { binaries });
  };
  const empty = temporaryFolder();
  const table: Array<[run: () => unknown, message: RegExp]> = [
    [
      () => new Snapback(stackIn(), 'Snapback', { binaries: empty }),
      /^Error: Installation-eu-central-1\/Snapback: the function [a-z-]+ has no binary: \/.*\/bootstrap\.zip does not exist\. Run `make build`/,
    ],
    [
      () => new Snapback(stackIn(), 'Snapback', { binaries, architecture: lambda.Architecture.X86_64 }),
      /the function [a-z-]+ would not start: architecture is x86_64, and .*bootstrap\.zip is built for arm64\. Set `architecture`/,
    ],
    [withSecond, /Again: the stack holds an installation already, Installation-eu-central-1\/Snapback\. .* Remove this one/],
    [
      () => new Snapback(stackIn(), 'Snapback', { binaries, logRetention: logs.RetentionDays.INFINITE }),
      /logRetention is 9999; allowed is 1, 3, .*, 3653\. How long the functions' logs are kept/,
    ],
  ];
  for (const [run, message] of table) assert.throws(run, message);
});

test('the processor of a packaged function is read from its first bytes', () => {
  const arm = program('arm64', 'x'.repeat(200_000));
  const none = /watcher\/bootstrap\.zip is no packaged function/;
  const table: Array<[case_: string, bytes: Buffer, refused: RegExp | undefined]> = [
    ['compressed', archive(arm, 'deflated'), undefined],
    ['stored', archive(arm, 'stored'), undefined],
    ['x86_64, stored', archive(program('x86_64', ''), 'stored'), /watcher\/bootstrap\.zip is built for x86_64/],
    ['cut short', archive(arm, 'deflated').subarray(0, 42), none],
    ['a program, no archive', arm, none],
    ['another processor', archive(Buffer.from(arm).fill(243, 18, 19), 'stored'), none],
    ['a script', archive(Buffer.from('#!/bin/sh\nexec ./function\n'), 'stored'), none],
    ['compressed rubbish', Buffer.concat([archive(arm, 'deflated').subarray(0, 39), Buffer.alloc(64, 255)]), none],
    ['empty', Buffer.alloc(0), none],
  ];
  for (const [case_, bytes, refused] of table) {
    const folder = standIns();
    fs.writeFileSync(path.join(folder, 'watcher/bootstrap.zip'), bytes);
    const make = () => new Snapback(stackIn(), 'Snapback', { binaries: folder });
    if (refused === undefined) assert.doesNotThrow(make, case_);
    else assert.throws(make, refused, case_);
  }
});
