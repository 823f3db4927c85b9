import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'node:test';
import { Stack } from 'aws-cdk-lib';
import { Annotations, Match } from 'aws-cdk-lib/assertions';
import * as codedeploy from 'aws-cdk-lib/aws-codedeploy';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { ProtectedDeployment, Traffic, type ProtectedDeploymentProps } from 'snapback-cdk';
import { aliasIn, functionIn, shopStack } from './shop';

const TEMPLATES = path.join(__dirname, '../../dist/templates/protect');

function protect(props: Partial<ProtectedDeploymentProps> | ((stack: Stack) => Partial<ProtectedDeploymentProps>)): void {
  const stack = shopStack();
  const given = typeof props === 'function' ? props(stack) : props;
  new ProtectedDeployment(stack, 'Protection', { ...given, alias: given.alias ?? aliasIn(stack) });
}

/** What a user without types may write. */
const untyped = (value: unknown) => value as never;

test('an error says what is wrong, where, why and what to do', () => {
  const table: Array<[case_: string, run: () => void, message: RegExp]> = [
    [
      'alias of $LATEST',
      () =>
        protect((stack) => ({
          alias: new lambda.Alias(stack, 'Live', { aliasName: 'live', version: functionIn(stack).latestVersion }),
        })),
      /^Error: Shop\/Protection: the alias Shop\/Live points to \$LATEST\. .* published versions.* `version: fn\.currentVersion`/,
    ],
    [
      'imported alias',
      () =>
        protect((stack) => ({
          alias: untyped(
            lambda.Alias.fromAliasAttributes(stack, 'Live', {
              aliasName: 'live',
              aliasVersion: functionIn(stack).currentVersion,
            }),
          ),
        })),
      /the alias Shop\/Live is imported\. .* Make the alias in this app/,
    ],
    [
      'two protections of one alias',
      () =>
        protect((stack) => {
          const alias = aliasIn(stack);
          new ProtectedDeployment(stack, 'First', { alias });
          return { alias };
        }),
      /Shop\/Protection: the alias Shop\/CheckoutLive has a deployment group already\. .* Protect each alias once/,
    ],
    [
      'bake too long',
      () => protect({ policy: { bake: '56m' } }),
      /policy\.bake is 56m; allowed is 0s to 55m: CodeDeploy waits an hour/,
    ],
    ['bake of an hour', () => protect({ policy: { bake: '1h' } }), /policy\.bake is 1h; allowed is 0s to 55m/],
    [
      'bake without unit',
      () => protect({ policy: { bake: '10' } }),
      /policy\.bake is "10"; allowed is a number with ms, s, m or h/,
    ],
    [
      'unknown mode',
      () => protect({ policy: { mode: untyped('on') } }),
      /policy\.mode is "on"; allowed is rollback, advise, observe\./,
    ],
    [
      'service name',
      () => protect({ policy: { service: 'check out' } }),
      /policy\.service is "check out"; allowed is up to 64 letters/,
    ],
    [
      'group name',
      () => protect({ deploymentGroupName: 'check_out' }),
      /deploymentGroupName is "check_out"; allowed is 1 to 100 letters, digits, dots and hyphens/,
    ],
    [
      'application name',
      () => protect((stack) => ({ application: new codedeploy.LambdaApplication(stack, 'App', { applicationName: 'my_shop' }) })),
      /the name of the application is "my_shop"; allowed is 1 to 100 letters/,
    ],
    [
      'name of an imported application',
      () =>
        protect((stack) => ({ application: codedeploy.LambdaApplication.fromLambdaApplicationName(stack, 'App', 'my_shop') })),
      /the name of the application is "my_shop"/,
    ],
    [
      "Snapback's own prefix",
      () => protect({ name: 'snapback-checkout' }),
      /name .* is "snapback-checkout"; .* not beginning with snapback-/,
    ],
    [
      'policy too long',
      () => protect({ policy: { before_traffic: { probes: [{ invoke: { payload: 'x'.repeat(8192) } }] } } }),
      /the policy has \d+ bytes of JSON, and a parameter of Systems Manager holds at most 8192\. Shorten/,
    ],
    [
      'predefined deployment config for servers',
      () => protect({ deploymentConfig: codedeploy.ServerDeploymentConfig.ONE_AT_A_TIME }),
      /the deployment config CodeDeployDefault\.OneAtATime is for another platform than Lambda/,
    ],
    [
      'own deployment config for ECS',
      () => protect((stack) => ({ deploymentConfig: new codedeploy.EcsDeploymentConfig(stack, 'Config') })),
      /the deployment config .* is for another platform than Lambda; CodeDeploy refuses it\. Take one of codedeploy\.LambdaDeploymentConfig/,
    ],
    [
      'threshold out of range',
      () => protect({ thresholds: { errorPercent: 101 } }),
      /errorPercent is 101; allowed is 0\.01 to 100\./,
    ],
    [
      'threshold of another traffic',
      () => protect({ thresholds: { clientErrorPercent: 5 } }),
      /the threshold clientErrorPercent is for none of the alarms that are made for this traffic \(lambda\)\. Leave it out/,
    ],
    [
      'load balancer by ARN',
      () => protect({ traffic: Traffic.loadBalancer('arn:aws:elasticloadbalancing:…', 'targetgroup/checkout/73e2d6bc24d8a067') }),
      /loadBalancer is "arn:.*"; allowed is the end of its ARN: app\/name\/0123456789abcdef/,
    ],
    [
      'transactions without a metric',
      () => protect({ transactions: { namespace: 'Shop', all: 'Payments', bad: '' } }),
      /transactions\.bad is empty/,
    ],
  ];
  for (const [case_, run, message] of table) assert.throws(run, message, case_);
});

test('the longest bake and the longest policy are fine', () => {
  protect({ policy: { bake: '55m' } });
  protect({ policy: { bake: '3300s', before_traffic: { probes: [{ invoke: { payload: 'x'.repeat(7000) } }] } } });
});

test('a function that cannot be tagged is a warning with the command that tags it', () => {
  const stack = shopStack();
  const arn = 'arn:aws:lambda:eu-central-1:111122223333:function:checkout';
  const version = lambda.Version.fromVersionArn(stack, 'Version', `${arn}:7`);
  const alias = new lambda.Alias(stack, 'Live', { aliasName: 'live', version });
  new ProtectedDeployment(stack, 'Protection', { alias });
  const command = `aws lambda tag-resource --tags snapback=protected --resource ${arn}`;
  Annotations.fromStack(stack).hasWarning('/Shop/Protection', Match.stringLikeRegexp(command));
});

test('the patterns of all templates are patterns for JavaScript too', () => {
  const refused: Record<string, string> = { ApiName: 'a\nb', Name: 'snapback-x', LoadBalancer: 'shop', Stage: 'a b' };
  for (const file of fs.readdirSync(TEMPLATES)) {
    const { Parameters } = JSON.parse(fs.readFileSync(path.join(TEMPLATES, file), 'utf8'));
    const patterns = Object.values<any>(Parameters).flatMap((parameter) => parameter.AllowedPattern ?? []);
    // Not all of Java's syntax is JavaScript's, and some of it silently means something else.
    for (const pattern of patterns) assert.doesNotMatch(pattern, /\\p\{(?!Cntrl\})|\[\[:|&&|\\[QEAZz]|\(\?[a-z]/, file);
  }
  for (const [parameter, value] of Object.entries(refused)) {
    const traffic =
      parameter === 'LoadBalancer'
        ? Traffic.loadBalancer(value, value)
        : Traffic.restApi(parameter === 'ApiName' ? value : 'api', parameter === 'Stage' ? value : 'prod');
    const name = parameter === 'Name' ? value : 'checkout';
    assert.throws(() => protect({ traffic, name }), /allowed is/, parameter);
  }
  protect({ traffic: Traffic.restApi('Cntrl plan {p}', 'prod') });
});
