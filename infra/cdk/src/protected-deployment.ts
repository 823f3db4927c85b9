import { Annotations, Names, Stack, Tags, Token } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as codedeploy from 'aws-cdk-lib/aws-codedeploy';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sns from 'aws-cdk-lib/aws-sns';
import type { CfnInclude } from 'aws-cdk-lib/cloudformation-include';
import { Construct } from 'constructs';
import { checkAlias, checkDeploymentConfig, checkPolicy, checkTransactions, POLICY_BYTES_MAX } from './checks';
import type { Thresholds, Transactions } from './impact';
import type { PolicyFile } from './policy';
import { problem } from './problem';
import { Template, type Values } from './template';
import { Traffic } from './traffic';

/** CodeDeploy's managed role may invoke functions whose name begins with `CodeDeployHook_`, these two among them. */
const BEFORE_ALLOW_TRAFFIC = 'CodeDeployHook_snapback-before-allow-traffic';
const AFTER_ALLOW_TRAFFIC = 'CodeDeployHook_snapback-after-allow-traffic';
/** Names of alarms that begin so are Snapback's own. */
const OWN_PREFIX = 'snapback-';

/** Properties of {@link ProtectedDeployment}. */
export interface ProtectedDeploymentProps {
  /** The alias that callers use, on a published version: `version: fn.currentVersion`. */
  readonly alias: lambda.Alias;
  /**
   * What differs from the recommended policy, in the words of the policy file. A member replaces the recommended one, of
   * `signals` each signal its own. Snapback reads the rest of it when a deployment begins; at synth only `mode`, `bake`,
   * `service` and the size are checked.
   *
   * @default the recommended policy: mode `rollback`, a bake of 10 minutes, all alarms of the template
   */
  readonly policy?: Partial<PolicyFile>;
  /**
   * What customers' requests come through to the function.
   *
   * @default Traffic.lambda()
   */
  readonly traffic?: Traffic;
  /**
   * Thresholds of the alarms.
   *
   * @default those of the template
   */
  readonly thresholds?: Thresholds;
  /**
   * Metrics that count transactions.
   *
   * @default transactions are not watched
   */
  readonly transactions?: Transactions;
  /**
   * How traffic shifts.
   *
   * @default codedeploy.LambdaDeploymentConfig.CANARY_10PERCENT_5MINUTES
   */
  readonly deploymentConfig?: codedeploy.IBaseDeploymentConfig;
  /**
   * The CodeDeploy application of the group.
   *
   * @default a new one
   */
  readonly application?: codedeploy.ILambdaApplication;
  /**
   * Name of the deployment group.
   *
   * @default made by CloudFormation
   */
  readonly deploymentGroupName?: string;
  /**
   * Beginning of the alarms' names, unique in account and Region.
   *
   * @default stack and path of the construct
   */
  readonly name?: string;
  /**
   * Topic that the customer-impact alarms tell, too. Snapback's own messages go where `policy.notify` says.
   *
   * @default none
   */
  readonly alarmTopic?: sns.ITopic;
}

/**
 * A function whose bad deployments undo themselves: a CodeDeploy deployment group for its alias, with Snapback's hooks, alarms
 * and policy, and the tag that lets Snapback look at the function. The account and Region need one installation
 * ({@link Snapback}), which is found by its fixed names.
 *
 * In mode `rollback` Snapback's own two alarms are attached to the group, so that CodeDeploy rolls back also when Snapback
 * cannot. The customer-impact alarms are not: CodeDeploy would stop a fix while one is red.
 *
 * @example
 *
 * import { App, Stack } from 'aws-cdk-lib';
 * import * as lambda from 'aws-cdk-lib/aws-lambda';
 * import { ProtectedDeployment } from 'snapback-cdk';
 *
 * const stack = new Stack(new App(), 'Shop');
 * const checkout = new lambda.Function(stack, 'Checkout', {
 *   runtime: lambda.Runtime.NODEJS_24_X,
 *   handler: 'index.handler',
 *   code: lambda.Code.fromInline('exports.handler = async () => ({ statusCode: 200 });'),
 * });
 * const alias = new lambda.Alias(stack, 'Live', { aliasName: 'live', version: checkout.currentVersion });
 * new ProtectedDeployment(stack, 'Protection', {
 *   alias,
 *   policy: {
 *     service: 'checkout',
 *     bake: '15m',
 *     before_traffic: { probes: [{ invoke: { payload: { path: '/health' }, expect: { status: 200, within: '800ms' } } }] },
 *   },
 *   thresholds: { latencyP99Ms: 800 },
 * });
 */
export class ProtectedDeployment extends Construct {
  /** The deployment group. */
  readonly deploymentGroup: codedeploy.LambdaDeploymentGroup;
  /** Names of the customer-impact alarms, which the recommended policy lists. */
  readonly alarmNames: string[];
  /** Names of Snapback's own alarms, the verdict alarm and the dead-man alarm. */
  readonly ownAlarmNames: string[];
  /** Name of the parameter that holds the policy. */
  readonly policyParameterName: string;
  /** The included template, to reach what is not listed here: `protection.template.getResource('LatencyP99Alarm')`. */
  readonly template: CfnInclude;

  /** @throws Error when something is set that cannot work; the message says what, where, why and what to do */
  constructor(scope: Construct, id: string, props: ProtectedDeploymentProps) {
    super(scope, id);
    const policy = props.policy ?? {};
    const traffic = props.traffic ?? Traffic.lambda();
    const cfnAlias = checkAlias(this, props.alias);
    checkDeploymentConfig(this, props.deploymentConfig);
    checkPolicy(this, policy);
    checkTransactions(this, props.transactions);

    this.deploymentGroup = new codedeploy.LambdaDeploymentGroup(this, 'Group', {
      alias: props.alias,
      application: props.application ?? new codedeploy.LambdaApplication(this, 'Application'),
      deploymentGroupName: props.deploymentGroupName,
      deploymentConfig: props.deploymentConfig,
      ignorePollAlarmsFailure: false,
    });

    const template = new Template(`protect/${traffic._kind}`);
    this.checkNames(props, template);
    const values = this.values(props, template, traffic);
    if (props.policy !== undefined) values['Policy'] = this.policyText(props.policy, recommendedPolicy(template, values));
    this.template = template.include(this, 'Template', values, { asWholeStack: false });
    const names = template.property('AlarmName', values).map(String);
    this.alarmNames = names.filter((name) => !name.startsWith(OWN_PREFIX));
    this.ownAlarmNames = names.filter((name) => name.startsWith(OWN_PREFIX));
    this.policyParameterName = this.template.getResource('PolicyParameter').ref;

    this.completeGroup(policy.mode ?? 'rollback');
    this.nameHooks(cfnAlias);
    this.waitForPolicy(cfnAlias, traffic);
    this.tagFunction(props.alias.lambda);
  }

  /** The names that are literally given: what the group and the application call themselves later is a reference. */
  private checkNames(props: ProtectedDeploymentProps, template: Template): void {
    const application = this.deploymentGroup.application.node.defaultChild;
    const names = {
      Group: props.deploymentGroupName,
      Application: application instanceof codedeploy.CfnApplication ? application.applicationName : undefined,
    };
    for (const [parameter, value] of Object.entries(names)) {
      if (value !== undefined) template.check(this, parameter, value, nameOfProperty(parameter));
    }
  }

  /** Values of all parameters, checked. */
  private values(props: ProtectedDeploymentProps, template: Template, traffic: Traffic): Values {
    const given: Record<string, string | number | undefined> = {
      Name: props.name ?? Names.uniqueResourceName(this, { maxLength: 120, separator: '-' }),
      Application: this.deploymentGroup.application.applicationName,
      Group: this.deploymentGroup.deploymentGroupName,
      FunctionName: props.alias.lambda.functionName,
      Alias: props.alias.aliasName,
      ...traffic._parameters,
      Service: props.policy?.service,
      Mode: props.policy?.mode,
      Bake: String(props.policy?.bake) === '0' ? '0s' : props.policy?.bake,
      NotifyTopicArn: props.alarmTopic?.topicArn,
      TransactionsNamespace: props.transactions?.namespace,
      TransactionsAll: props.transactions?.all,
      TransactionsBad: props.transactions?.bad,
      TransactionsService: props.transactions?.service,
      ...this.thresholds(props.thresholds ?? {}, template, traffic),
    };
    const values = template.defaults();
    for (const [parameter, value] of Object.entries(given)) {
      if (value === undefined) continue;
      template.check(this, parameter, value, nameOfProperty(parameter));
      values[parameter] = value;
    }
    return values;
  }

  private thresholds(thresholds: Thresholds, template: Template, traffic: Traffic): Record<string, number | undefined> {
    const parameters = Object.entries(thresholds).map(([threshold, value]) => {
      const parameter = threshold.charAt(0).toUpperCase() + threshold.slice(1);
      if (!template.knows(parameter)) {
        throw problem(
          this,
          `the threshold ${threshold} is for none of the alarms that are made for this traffic (${traffic._kind}).`,
          'Leave it out, or set `traffic` to what customers come through.',
        );
      }
      return [parameter, value];
    });
    return Object.fromEntries(parameters);
  }

  /** The recommended policy with what differs from it, as JSON. */
  private policyText(policy: Partial<PolicyFile>, recommended: PolicyFile): string {
    const merged = { ...recommended, ...policy, signals: { ...recommended.signals, ...policy.signals } };
    const bytes = Buffer.byteLength(JSON.stringify(Stack.of(this).resolve(merged)));
    if (bytes > POLICY_BYTES_MAX) {
      throw problem(
        this,
        `the policy has ${bytes} bytes of JSON, and a parameter of Systems Manager holds at most ${POLICY_BYTES_MAX}.`,
        'Shorten the payloads of its probes, or make fewer probes.',
      );
    }
    return Stack.of(this).toJsonString(merged);
  }

  /**
   * All three events, whatever is attached: Snapback stops deployments on request. The alarms are listed by their literal names:
   * they refer to the group, which must not refer to them.
   */
  private completeGroup(mode: PolicyFile['mode']): void {
    if (mode === 'rollback') {
      for (const name of this.ownAlarmNames) {
        this.deploymentGroup.addAlarm(cloudwatch.Alarm.fromAlarmName(this, name, name));
      }
    }
    const group = this.deploymentGroup.node.defaultChild as codedeploy.CfnDeploymentGroup;
    // Said also when there are none: CodeDeploy keeps the alarms of a group whose template is silent about them.
    if (mode !== 'rollback') group.alarmConfiguration = { enabled: false, alarms: [] };
    group.autoRollbackConfiguration = {
      enabled: true,
      events: ['DEPLOYMENT_FAILURE', 'DEPLOYMENT_STOP_ON_ALARM', 'DEPLOYMENT_STOP_ON_REQUEST'],
    };
  }

  /**
   * Names the hooks. `addPreHook` would do that too, but then CDK asks for a permission in the role of an imported function, which
   * the installation has.
   */
  private nameHooks(alias: lambda.CfnAlias): void {
    const update = alias.cfnOptions.updatePolicy?.codeDeployLambdaAliasUpdate;
    if (update === undefined) throw new Error('LambdaDeploymentGroup gave the alias no update policy');
    alias.cfnOptions.updatePolicy = {
      codeDeployLambdaAliasUpdate: {
        ...update,
        beforeAllowTrafficHook: BEFORE_ALLOW_TRAFFIC,
        afterAllowTrafficHook: AFTER_ALLOW_TRAFFIC,
      },
    };
  }

  /** Lets a new version wait for the policy that judges it, and for the alarms. */
  private waitForPolicy(alias: lambda.CfnAlias, traffic: Traffic): void {
    if (traffic._aliasMayWait) {
      alias.node.addDependency(this.template);
      return;
    }
    Annotations.of(this).addInfo(
      'The alias cannot wait for the alarms and the policy: they name a resource that may refer to the alias. Protection counts ' +
        'from the deployment after the one that adds it.',
    );
  }

  private tagFunction(protectedFunction: lambda.IFunction): void {
    if (protectedFunction.node.defaultChild === undefined) {
      Annotations.of(this).addWarningV2(
        'snapback-cdk:untaggedFunction',
        'The function is imported, so it cannot be tagged here, and Snapback may only look at functions with the tag ' +
          'snapback=protected. Tag it where it is made, or by: aws lambda tag-resource --tags snapback=protected --resource ' +
          (Token.isUnresolved(protectedFunction.functionArn) ? 'ARN' : protectedFunction.functionArn),
      );
      return;
    }
    Tags.of(protectedFunction).add('snapback', 'protected', { includeResourceTypes: ['AWS::Lambda::Function'] });
  }
}

/** The policy that the template stores when it is given none. */
function recommendedPolicy(template: Template, values: Values): PolicyFile {
  const [document] = template.property('Value', { ...values, Policy: '' });
  return JSON.parse(String(document));
}

/** The property of the construct from which a parameter has its value. */
function nameOfProperty(parameter: string): string {
  const names: Record<string, string> = {
    Name: 'name (or, without it, the name of stack and construct)',
    Application: 'the name of the application',
    Group: 'deploymentGroupName',
    Alias: 'the name of the alias',
    FunctionName: 'the name of the function',
    Service: 'policy.service',
    Mode: 'policy.mode',
    Bake: 'policy.bake',
    TransactionsNamespace: 'transactions.namespace',
    TransactionsAll: 'transactions.all',
    TransactionsBad: 'transactions.bad',
    TransactionsService: 'transactions.service',
  };
  return names[parameter] ?? parameter.charAt(0).toLowerCase() + parameter.slice(1);
}
