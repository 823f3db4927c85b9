import { App, CfnOutput, Stack } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { ProtectedDeployment, Snapback } from 'snapback-cdk';

/**
 * An account with one installation and one protected service.
 *
 * @param binaries folder with the packaged functions of Snapback
 */
export function shop(app: App, binaries: string): { installation: Stack; service: Stack } {
  const installation = new Stack(app, 'Snapback');
  new Snapback(installation, 'Snapback', { binaries, operatorEmail: 'on-call@example.com' });

  const service = new Stack(app, 'Shop');
  service.addStackDependency(installation); // The hooks must exist before the first deployment.
  const checkout = new lambda.Function(service, 'Checkout', {
    runtime: lambda.Runtime.NODEJS_24_X,
    handler: 'index.handler',
    code: lambda.Code.fromInline("exports.handler = async () => ({ statusCode: 200, body: 'thank you' });"),
  });
  const alias = new lambda.Alias(service, 'Live', { aliasName: 'live', version: checkout.currentVersion });
  const url = alias.addFunctionUrl({ authType: lambda.FunctionUrlAuthType.AWS_IAM });
  new CfnOutput(service, 'Url', { value: url.url });

  new ProtectedDeployment(service, 'Protection', {
    alias,
    policy: {
      service: 'checkout',
      before_traffic: { probes: [{ invoke: { payload: { path: '/health' }, expect: { status: 200 }, times: 5 } }] },
    },
    thresholds: { latencyP99Ms: 800 },
  });
  return { installation, service };
}
