import { Token } from 'aws-cdk-lib';
import * as codedeploy from 'aws-cdk-lib/aws-codedeploy';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import type { Transactions } from './impact';
import type { PolicyFile } from './policy';
import { problem } from './problem';

/** What an advanced parameter of Systems Manager holds. */
export const POLICY_BYTES_MAX = 8192;
/** CodeDeploy gives a hook an hour; Snapback answers before. */
const BAKE_MINUTES_MAX = 55;
const PREDEFINED = 'CodeDeployDefault.';

/**
 * The alias as CloudFormation resource.
 *
 * @throws Error when CodeDeploy cannot shift its traffic, or another deployment group does already
 */
export function checkAlias(where: Construct, alias: lambda.Alias): lambda.CfnAlias {
  const cfnAlias = alias.node.defaultChild;
  if (!(cfnAlias instanceof lambda.CfnAlias)) {
    throw problem(
      where,
      `the alias ${alias.node.path} is imported. CloudFormation starts a deployment when it changes an alias of its own.`,
      'Make the alias in this app: new lambda.Alias(…).',
    );
  }
  const version: lambda.IVersion | undefined = alias.version;
  if (version === undefined || version.version === '$LATEST') {
    throw problem(
      where,
      `the alias ${alias.node.path} points to $LATEST. CodeDeploy shifts traffic between published versions, and $LATEST is none.`,
      'Make the alias with `version: fn.currentVersion`.',
    );
  }
  if (cfnAlias.cfnOptions.updatePolicy !== undefined) {
    throw problem(
      where,
      `the alias ${alias.node.path} has a deployment group already. CloudFormation would use only one of the two.`,
      'Protect each alias once, and remove any LambdaDeploymentGroup of it: the protection makes one.',
    );
  }
  return cfnAlias;
}

/** @throws Error when the deployment config is not one for Lambda */
export function checkDeploymentConfig(where: Construct, config: codedeploy.IBaseDeploymentConfig | undefined): void {
  if (config === undefined) return;
  const name = config.deploymentConfigName;
  const isPredefinedForOthers = name.startsWith(PREDEFINED) && !name.startsWith(`${PREDEFINED}Lambda`);
  const made = Construct.isConstruct(config) ? config.node.defaultChild : undefined;
  const platform = made instanceof codedeploy.CfnDeploymentConfig ? made.computePlatform : undefined;
  if (isPredefinedForOthers || (platform !== undefined && platform !== 'Lambda')) {
    throw problem(
      where,
      `the deployment config ${Token.isUnresolved(name) ? 'in `deploymentConfig`' : name} is for another platform than Lambda; ` +
        'CodeDeploy refuses it.',
      'Take one of codedeploy.LambdaDeploymentConfig, or make one.',
    );
  }
}

/** @throws Error when the essentials of a policy are wrong */
export function checkPolicy(where: Construct, policy: Partial<PolicyFile>): void {
  const { bake } = policy;
  if (bake !== undefined && minutes(String(bake)) > BAKE_MINUTES_MAX) {
    throw problem(
      where,
      `policy.bake is ${bake}; allowed is 0s to ${BAKE_MINUTES_MAX}m: CodeDeploy waits an hour for a hook and then fails the deployment.`,
      'Take a shorter bake; a regression that shows later is found by the alarms.',
    );
  }
}

/** @throws Error when a metric has no name */
export function checkTransactions(where: Construct, transactions: Transactions | undefined): void {
  for (const [name, value] of Object.entries(transactions ?? {})) {
    if (value === '') {
      throw problem(
        where,
        `transactions.${name} is empty, and an alarm needs the names of its metrics.`,
        'Name it, or leave `transactions` out.',
      );
    }
  }
}

/** Minutes of a duration of the policy file; 0 where it is none, which the pattern of the parameter refuses. */
function minutes(duration: string): number {
  const [, count, unit] = /^(\d+)(ms|s|m|h)$/.exec(duration) ?? [];
  const inMinutes: Record<string, number> = { ms: 1 / 60_000, s: 1 / 60, m: 1, h: 60 };
  return Number(count ?? 0) * (inMinutes[unit ?? ''] ?? 0);
}
