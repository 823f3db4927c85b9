import * as fs from 'node:fs';
import * as path from 'node:path';
import { Stack, Token } from 'aws-cdk-lib';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import { CfnFunction } from 'aws-cdk-lib/aws-sam';
import { Asset } from 'aws-cdk-lib/aws-s3-assets';
import * as sns from 'aws-cdk-lib/aws-sns';
import type { CfnInclude } from 'aws-cdk-lib/cloudformation-include';
import { Construct } from 'constructs';
import { processorOf } from './binary';
import { problem } from './problem';
import { Template, type Values } from './template';

/** Properties of {@link Snapback}. */
export interface SnapbackProps {
  /**
   * Folder with the packaged functions, `<function>/bootstrap.zip`, as `make build` leaves them in `target/lambda`.
   *
   * @default the functions in this package, which are built for arm64
   */
  readonly binaries?: string;
  /**
   * Processor of the functions. The binaries must be built for it.
   *
   * @default lambda.Architecture.ARM_64
   */
  readonly architecture?: lambda.Architecture;
  /**
   * Address that gets every message of Snapback. It must confirm the subscription.
   *
   * @default nobody; subscribe to {@link Snapback.topic}
   */
  readonly operatorEmail?: string;
  /**
   * Topics that policies name under `notify`, so that Snapback may publish to them.
   *
   * @default Snapback's own topic only
   */
  readonly notifyTopics?: sns.ITopic[];
  /**
   * Whether 152 concurrent executions are reserved, so that Snapback runs while a busy account is throttled. `false` in an
   * account whose limit is too small for it.
   *
   * @default true
   */
  readonly reserveConcurrency?: boolean;
  /**
   * How long the functions' logs are kept. Evidence is in the table, not in the logs.
   *
   * @default logs.RetentionDays.ONE_MONTH
   */
  readonly logRetention?: logs.RetentionDays;
}

/**
 * An installation of Snapback: functions, roles, rules, table, topic, alarms and dashboard. One serves all protected services
 * of an account and Region, and all its names are fixed, so that services find it by name.
 *
 * Its resources are those of the SAM template, which is part of this package.
 *
 * @example
 *
 * import { App, Stack } from 'aws-cdk-lib';
 * import { Snapback } from 'snapback-cdk';
 *
 * const app = new App();
 * const stack = new Stack(app, 'Snapback', { env: { region: 'eu-central-1' } });
 * new Snapback(stack, 'Snapback', { binaries: 'target/lambda', operatorEmail: 'on-call@example.com' });
 */
export class Snapback extends Construct {
  /** The record of every deployment and rollback. It is kept when the stack is deleted. */
  readonly table: dynamodb.ITable;
  /** Every message of Snapback, and the alarms on Snapback itself. */
  readonly topic: sns.ITopic;
  /** Hook `BeforeAllowTraffic`. */
  readonly beforeAllowTraffic: lambda.IFunction;
  /** Hook `AfterAllowTraffic`. */
  readonly afterAllowTraffic: lambda.IFunction;
  /** May be the action of an alarm, which is a few seconds faster than the event. */
  readonly alarmHandler: lambda.IFunction;
  /** The included template, to reach what is not listed here: `snapback.template.getResource('Dashboard')`. */
  readonly template: CfnInclude;

  /**
   * @throws Error when binaries are missing, the stack holds an installation already, or a property has no such value
   */
  constructor(scope: Construct, id: string, props: SnapbackProps = {}) {
    super(scope, id);
    this.refuseSecondInstallation();
    const installation = new Template('installation');
    this.template = installation.include(this, 'Template', this.values(props, installation), { asWholeStack: true });
    this.addCode(props);

    const attribute = (logicalId: string, name: string) => this.template.getResource(logicalId).getAtt(name).toString();
    this.table = dynamodb.Table.fromTableAttributes(this, 'Table', {
      tableArn: attribute('Table', 'Arn'),
      grantIndexPermissions: true,
    });
    this.topic = sns.Topic.fromTopicArn(this, 'Topic', this.template.getResource('Topic').ref);
    const fromTemplate = (logicalId: string) =>
      lambda.Function.fromFunctionAttributes(this, logicalId, {
        functionArn: attribute(logicalId, 'Arn'),
        sameEnvironment: true,
      });
    this.beforeAllowTraffic = fromTemplate('BeforeAllowTraffic');
    this.afterAllowTraffic = fromTemplate('AfterAllowTraffic');
    this.alarmHandler = fromTemplate('AlarmHandler');
  }

  private refuseSecondInstallation(): void {
    const stack = Stack.of(this);
    const other = stack.node.findAll().find((construct) => construct instanceof Snapback && construct !== this);
    if (other !== undefined) {
      throw problem(
        this,
        `the stack holds an installation already, ${other.node.path}. One serves all services of an account and Region, and its ` +
          'names are fixed.',
        'Remove this one; for another Region make a stack of that Region.',
      );
    }
  }

  private values(props: SnapbackProps, installation: Template): Values {
    const logRetention = props.logRetention ?? logs.RetentionDays.ONE_MONTH;
    installation.check(this, 'LogRetentionDays', logRetention, 'logRetention');
    return {
      Architecture: (props.architecture ?? lambda.Architecture.ARM_64).name,
      OperatorEmail: props.operatorEmail ?? '',
      NotifyTopicArns: (props.notifyTopics ?? []).map((topic) => topic.topicArn),
      ReserveConcurrency: String(props.reserveConcurrency ?? true),
      LogRetentionDays: logRetention,
    };
  }

  /** Gives each function of the template its binary: the last part of its `CodeUri` is the function's folder. */
  private addCode({ binaries, architecture = lambda.Architecture.ARM_64 }: SnapbackProps): void {
    const folder = path.resolve(binaries ?? path.join(__dirname, 'functions'));
    for (const resource of this.template.node.findAll()) {
      if (resource instanceof CfnFunction) {
        const name = path.basename(String(resource.codeUri));
        const asset = new Asset(this, `Code-${name}`, { path: this.binary(folder, name, architecture.name) });
        resource.codeUri = { bucket: asset.s3BucketName, key: asset.s3ObjectKey };
        allowNoSuccessDestination(resource);
      }
    }
  }

  private binary(folder: string, name: string, architecture: string): string {
    const file = path.join(folder, name, 'bootstrap.zip');
    if (!fs.existsSync(file)) {
      throw problem(
        this,
        `the function ${name} has no binary: ${file} does not exist.`,
        'Run `make build` in the repository of Snapback, and give its folder target/lambda as `binaries`.',
      );
    }
    const processor = processorOf(file);
    if (processor !== architecture) {
      throw problem(
        this,
        `the function ${name} would not start: architecture is ${architecture}, and ${file} is ` +
          (processor === undefined ? 'no packaged function.' : `built for ${processor}.`),
        'Set `architecture` to that of the binaries, or build them anew: `make build` says which it builds.',
      );
    }
    return file;
  }
}

/** CDK's type of a SAM function wants a destination for success beside that for failure: it gets one, and loses it at the end. */
function allowNoSuccessDestination(resource: CfnFunction): void {
  const events = resource.eventInvokeConfig;
  if (events === undefined || Token.isUnresolved(events)) return;
  const { destinationConfig: destinations } = events as CfnFunction.EventInvokeConfigProperty;
  if (destinations === undefined || Token.isUnresolved(destinations)) return;
  const { onFailure } = destinations as CfnFunction.EventInvokeDestinationConfigProperty;
  if (onFailure === undefined) return;
  resource.eventInvokeConfig = { ...events, destinationConfig: { onFailure, onSuccess: onFailure } };
  resource.addPropertyDeletionOverride('EventInvokeConfig.DestinationConfig.OnSuccess');
}
