import assert from 'node:assert/strict';
import { test } from 'node:test';
import { App, Duration, Stack, Stage } from 'aws-cdk-lib';
import { Annotations, Match } from 'aws-cdk-lib/assertions';
import * as apigateway from 'aws-cdk-lib/aws-apigateway';
import * as apigatewayv2 from 'aws-cdk-lib/aws-apigatewayv2';
import { HttpLambdaIntegration } from 'aws-cdk-lib/aws-apigatewayv2-integrations';
import * as codedeploy from 'aws-cdk-lib/aws-codedeploy';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as elbv2 from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import { LambdaTarget } from 'aws-cdk-lib/aws-elasticloadbalancingv2-targets';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sns from 'aws-cdk-lib/aws-sns';
import { ProtectedDeployment, Traffic, type ProtectedDeploymentProps } from 'snapback-cdk';
import { aliasIn, shopStack } from './shop';
import { circle, ofType, only, synthesized } from './synthesized';

type Props = Omit<ProtectedDeploymentProps, 'alias'>;

function protect(props: Props = {}, stack = shopStack()): { stack: Stack; protection: ProtectedDeployment } {
  return { stack, protection: new ProtectedDeployment(stack, 'Protection', { alias: aliasIn(stack), ...props }) };
}

/** The policy that is stored; what refers to resources reads `?`. */
function policyOf(stack: Stack): any {
  const value = only(stack, 'AWS::SSM::Parameter').Properties['Value'];
  const text =
    typeof value === 'string' ? value : value['Fn::Join'][1].map((part: any) => (typeof part === 'string' ? part : '?')).join('');
  return JSON.parse(text);
}

function alarmNames(stack: Stack): string[] {
  const types = ['AWS::CloudWatch::Alarm', 'AWS::CloudWatch::CompositeAlarm'];
  return types.flatMap((type) => Object.values(ofType(stack, type)).map(({ Properties }) => Properties['AlarmName']));
}

test('an alias gets a deployment group with hooks, alarms, policy and tag', () => {
  const { stack, protection } = protect();
  const group = only(stack, 'AWS::CodeDeploy::DeploymentGroup').Properties;
  assert.deepEqual(group['AutoRollbackConfiguration'], {
    Enabled: true,
    Events: ['DEPLOYMENT_FAILURE', 'DEPLOYMENT_STOP_ON_ALARM', 'DEPLOYMENT_STOP_ON_REQUEST'],
  });
  assert.equal(group['DeploymentConfigName'], 'CodeDeployDefault.LambdaCanary10Percent5Minutes');
  assert.deepEqual(group['AlarmConfiguration'], {
    Alarms: protection.ownAlarmNames.map((Name) => ({ Name })),
    Enabled: true,
    IgnorePollAlarmFailure: false,
  });
  assert.match(protection.ownAlarmNames.join(), /^snapback-dead-man-Shop-.*,snapback-verdict-Shop-/);

  const update = only(stack, 'AWS::Lambda::Alias').UpdatePolicy.CodeDeployLambdaAliasUpdate;
  assert.equal(update.BeforeAllowTrafficHook, 'CodeDeployHook_snapback-before-allow-traffic');
  assert.equal(update.AfterAllowTrafficHook, 'CodeDeployHook_snapback-after-allow-traffic');
  assert.deepEqual(update.DeploymentGroupName, { Ref: Object.keys(ofType(stack, 'AWS::CodeDeploy::DeploymentGroup'))[0] });

  const checkout = only(stack, 'AWS::Lambda::Function');
  assert.deepEqual(checkout.Properties['Tags'], [{ Key: 'snapback', Value: 'protected' }]);
  for (const role of Object.values(ofType(stack, 'AWS::IAM::Role'))) assert.equal(role.Properties['Tags'], undefined);
  assert.deepEqual(circle(synthesized(stack).Resources), []);
  Annotations.fromStack(stack).hasNoWarning('*', Match.anyValue());
  Annotations.fromStack(stack).hasNoInfo('*', Match.anyValue());
});

test('the recommended policy judges by exactly the alarms that are made', () => {
  for (const transactions of [undefined, { namespace: 'Shop', all: 'Payments', bad: 'FailedPayments' }]) {
    const { stack, protection } = protect({ transactions });
    const { signals, ...rest } = policyOf(stack);
    assert.deepEqual(rest, { bake: '10m', before_traffic: { probes: [] }, mode: 'rollback', service: '?' });
    const listed = Object.values<any>(signals).flatMap((signal) => signal.alarms);
    const parts = protection.alarmNames.filter((name) => /-burn-rate-(fast|slow)$/.test(name));
    assert.equal(parts.length, 2);
    assert.deepEqual([...listed, ...parts].sort(), [...protection.alarmNames].sort());
    assert.deepEqual(alarmNames(stack).sort(), [...protection.alarmNames, ...protection.ownAlarmNames].sort());
    assert.equal('transactions' in signals, transactions !== undefined);
  }
});

test('what a policy sets replaces the recommended part and leaves the rest', () => {
  const probes = [{ invoke: { payload: { path: '/health' }, expect: { status: 200 } } }];
  const { stack, protection } = protect({
    policy: {
      service: 'checkout',
      bake: '20m',
      before_traffic: { probes },
      signals: { latency: { alarms: ['checkout-p95'] } },
    },
  });
  const policy = policyOf(stack);
  assert.equal(policy.service, 'checkout');
  assert.equal(policy.mode, 'rollback');
  assert.equal(policy.bake, '20m');
  assert.deepEqual(policy.before_traffic, { probes });
  assert.deepEqual(policy.signals.latency, { alarms: ['checkout-p95'] });
  assert.equal(policy.signals.slo.objective, '99.9%');
  assert.deepEqual(
    policy.signals.errors.alarms,
    protection.alarmNames.filter((name) => name.endsWith('-errors-5xx')),
  );
});

test('a policy may refer to resources, and no bake is a bake', () => {
  const stack = shopStack();
  const topic = new sns.Topic(stack, 'Team');
  protect({ policy: { bake: 0, notify: { sns: topic.topicArn } }, alarmTopic: topic }, stack);
  const policy = policyOf(stack);
  assert.equal(policy.bake, 0);
  assert.deepEqual(policy.notify, { sns: '?' });
  const actions = Object.values(ofType(stack, 'AWS::CloudWatch::Alarm')).map(({ Properties }) => Properties['AlarmActions']);
  const [topicId] = Object.keys(ofType(stack, 'AWS::SNS::Topic'));
  assert.ok(actions.some((arns) => arns?.[0].Ref === topicId));
  assert.equal(synthesized(stack)['Conditions'], undefined);
});

test('in observe and advise no alarm is attached', () => {
  for (const mode of ['observe', 'advise'] as const) {
    const { stack } = protect({ policy: { mode } });
    const group = only(stack, 'AWS::CodeDeploy::DeploymentGroup').Properties;
    assert.deepEqual(group['AlarmConfiguration'], { Enabled: false, Alarms: [] }, mode);
    assert.equal(group['AutoRollbackConfiguration'].Events.length, 3, mode);
    assert.equal(policyOf(stack).mode, mode);
  }
});

test('a new version waits for the policy that judges it', () => {
  const { stack } = protect();
  const { Resources } = synthesized(stack);
  const waitsFor = Object.values(ofType(stack, 'AWS::Lambda::Alias'))[0]?.DependsOn ?? [];
  for (const [id, resource] of Object.entries(Resources)) {
    if (/^AWS::(SSM::Parameter|CloudWatch::)/.test(resource.Type)) assert.ok(waitsFor.includes(id), id);
  }
});

test('thresholds, transactions and names reach the alarms', () => {
  const { stack } = protect({
    name: 'checkout',
    thresholds: { latencyP99Ms: 800, objective: 99.5, requestsMin: 50 },
    transactions: { namespace: 'Shop', all: 'Payments', bad: 'FailedPayments', service: 'payments' },
  });
  const alarms = Object.values(ofType(stack, 'AWS::CloudWatch::Alarm')).map(({ Properties }) => Properties);
  const named = (name: string) => alarms.find((alarm) => alarm['AlarmName'] === name);
  assert.equal(named('checkout-latency-p99')?.['Threshold'], 800);
  assert.match(JSON.stringify(named('checkout-errors-5xx')), />= 50,/);
  assert.equal(policyOf(stack).signals.slo.objective, '99.5%');
  const dimensions = named('checkout-transactions')?.['Metrics'][1].MetricStat.Metric.Dimensions;
  assert.deepEqual(dimensions, [{ Name: 'Service', Value: 'payments' }]);
});

test('application, group and deployment config may be given', () => {
  const stack = shopStack();
  protect(
    {
      application: new codedeploy.LambdaApplication(stack, 'App', { applicationName: 'shop' }),
      deploymentGroupName: 'checkout',
      deploymentConfig: new codedeploy.LambdaDeploymentConfig(stack, 'Slow', {
        trafficRouting: codedeploy.TrafficRouting.timeBasedLinear({ interval: Duration.minutes(3), percentage: 20 }),
      }),
    },
    stack,
  );
  const group = only(stack, 'AWS::CodeDeploy::DeploymentGroup').Properties;
  assert.equal(group['DeploymentGroupName'], 'checkout');
  assert.equal(only(stack, 'AWS::CodeDeploy::Application').Properties['ApplicationName'], 'shop');
  assert.deepEqual(group['DeploymentConfigName'], { Ref: Object.keys(ofType(stack, 'AWS::CodeDeploy::DeploymentConfig'))[0] });
  assert.deepEqual(circle(synthesized(stack).Resources), []);
});

test('several aliases of a stack are protected, also in stages', () => {
  const stage = new Stage(new App(), 'Production');
  const stack = shopStack(stage);
  const checkout = new ProtectedDeployment(stack, 'Checkout', { alias: aliasIn(stack, 'CheckoutFunction') });
  const search = new ProtectedDeployment(stack, 'Search', { alias: aliasIn(stack, 'SearchFunction') });
  const names = [checkout, search].flatMap((protection) => [...protection.alarmNames, ...protection.ownAlarmNames]);
  assert.equal(new Set(names).size, names.length);
  assert.match(names[0] ?? '', /^ProductionShop-Checkout-/);
});

test('the test for circles finds one', () => {
  const resource = (Properties: object) => ({ Type: 'T', Properties });
  const waits = { ...resource({ Arn: { 'Fn::Sub': 'arn:${C.Arn}' } }), DependsOn: ['A'] };
  assert.deepEqual(circle({ A: resource({ X: { Ref: 'B' } }), B: resource({ X: { 'Fn::GetAtt': ['C', 'Y'] } }), C: waits }), [
    'A',
    'B',
    'C',
    'C',
  ]);
  assert.deepEqual(circle({ A: resource({ X: { Ref: 'B' } }), B: resource({ X: { Ref: 'AWS::Region' } }) }), []);
});

test('traffic decides which metrics are read, and never closes a circle', () => {
  const cases: Array<[kind: string, traffic: (stack: Stack, alias: lambda.Alias) => Traffic, dimension: RegExp, waits: boolean]> =
    [
      [
        'REST API',
        (stack, alias) => Traffic.restApi(new apigateway.LambdaRestApi(stack, 'Api', { handler: alias }), 'prod'),
        /"ApiName","Value":"Api"/,
        true,
      ],
      [
        'REST API, stage by reference',
        (stack, alias) => {
          const api = new apigateway.LambdaRestApi(stack, 'Api', { handler: alias });
          return Traffic.restApi(api, api.deploymentStage.stageName);
        },
        /"ApiName","Value":"Api"/,
        false,
      ],
      [
        'HTTP API',
        (stack, alias) => {
          const defaultIntegration = new HttpLambdaIntegration('Integration', alias);
          return Traffic.httpApi(new apigatewayv2.HttpApi(stack, 'Api', { defaultIntegration }));
        },
        /"ApiId","Value":\{"Ref":"Api\w+"\}.*"Stage","Value":"\$default"/,
        true,
      ],
      [
        'a resource of a REST API',
        () => Traffic.restApi('api', 'prod', { method: 'GET', resource: '/cart/{id}' }),
        /"Name":"Method","Value":"GET".*"Name":"Resource","Value":"\/cart\/\{id\}"/,
        true,
      ],
      [
        'a route of an HTTP API',
        () => Traffic.httpApi('a1b2c3d4e5', '$default', 'GET /cart/{id}'),
        /"Name":"Route","Value":"GET \/cart\/\{id\}"/,
        true,
      ],
      [
        'load balancer',
        (stack, alias) => {
          const balancer = new elbv2.ApplicationLoadBalancer(stack, 'Balancer', { vpc: new ec2.Vpc(stack, 'Vpc') });
          const listener = balancer.addListener('Http', { port: 80 });
          return Traffic.loadBalancer(balancer, listener.addTargets('Checkout', { targets: [new LambdaTarget(alias)] }));
        },
        /"TargetGroup","Value":\{"Fn::GetAtt":\["BalancerHttpCheckout\w+","TargetGroupFullName"\]/,
        false,
      ],
      [
        'load balancer by name',
        () => Traffic.loadBalancer('app/shop/50dc6c495c0c9188', 'targetgroup/checkout/73e2d6bc24d8a067'),
        /"TargetGroup","Value":"targetgroup\/checkout\/73e2d6bc24d8a067"/,
        true,
      ],
    ];
  for (const [kind, traffic, dimension, waits] of cases) {
    const stack = shopStack();
    const alias = aliasIn(stack);
    new ProtectedDeployment(stack, 'Protection', {
      alias,
      traffic: traffic(stack, alias),
      thresholds: { clientErrorPercent: 10 },
    });
    const { Resources } = synthesized(stack);
    assert.deepEqual(circle(Resources), [], kind);
    const policyId = Object.keys(ofType(stack, 'AWS::SSM::Parameter'))[0] ?? '';
    assert.equal((only(stack, 'AWS::Lambda::Alias').DependsOn ?? []).includes(policyId), waits, kind);
    const alarms = Object.values(ofType(stack, 'AWS::CloudWatch::Alarm'));
    const errors = alarms.find(({ Properties }) => Properties['AlarmName'].endsWith('-errors-5xx'));
    assert.match(JSON.stringify(errors?.Properties['Metrics']), dimension, kind);
    const told = Annotations.fromStack(stack).findInfo('*', Match.stringLikeRegexp('The alias cannot wait'));
    assert.equal(told.length, waits ? 0 : 1, kind);
  }
});
