import { App, Aspects, Stack } from 'aws-cdk-lib';
import { AwsSolutionsChecks, NagSuppressions } from 'cdk-nag';

const ARN = ['<AWS::Partition>', '<AWS::Region>:<AWS::AccountId>'] as const;

/** Wildcards in the roles of the functions, and why each is as narrow as AWS allows. */
const WILDCARDS: Array<[reason: string, ...resources: string[]]> = [
  ['AWS defines no resource for these actions: alarms, metrics, deployment targets, hook answers.', '*'],
  ['The indexes of the one table.', '<Table.Arn>/index/*'],
  [
    'One installation serves all deployment groups of an account and Region, which are made after it.',
    ...['application', 'deploymentconfig', 'deploymentgroup'].map((type) => `arn:${ARN[0]}:codedeploy:${ARN[1]}:${type}:*`),
  ],
  ['Only functions with the tag snapback=protected, by a condition.', `arn:${ARN[0]}:lambda:${ARN[1]}:function:*`],
  ['The policies of all services, which are made after it.', `arn:${ARN[0]}:ssm:${ARN[1]}:parameter/snapback/policy/*`],
  [
    'The one-time schedules at the end of a bake, one for each deployment.',
    `arn:${ARN[0]}:scheduler:${ARN[1]}:schedule/default/snapback-bake-end-*`,
  ],
];

/** Checks an app with cdk-nag's AWS solutions. What is accepted has its reason here, and anything else is an error. */
export function checkWithNag(app: App, stacks: { installation: Stack; service: Stack }): void {
  Aspects.of(app).add(new AwsSolutionsChecks());
  NagSuppressions.addStackSuppressions(stacks.installation, [
    ...WILDCARDS.map(([reason, ...resources]) => ({
      id: 'AwsSolutions-IAM5',
      reason,
      appliesTo: resources.map((resource) => `Resource::${resource}`),
    })),
    { id: 'AwsSolutions-SQS3', reason: 'The only queue is the dead-letter queue of the rules and functions.' },
  ]);
  NagSuppressions.addStackSuppressions(stacks.service, [
    {
      id: 'AwsSolutions-IAM4',
      reason: 'The policy that AWS maintains for CodeDeploy; of functions it may invoke CodeDeployHook_* only.',
      appliesTo: ['Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSCodeDeployRoleForLambdaLimited'],
    },
    {
      id: 'AwsSolutions-IAM4',
      reason: 'The function of the example needs nothing but its log, and has the role that CDK makes for that.',
      appliesTo: ['Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole'],
    },
  ]);
}
