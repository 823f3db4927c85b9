import { App, Stack, type Stage } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';

/** A stack of a service. */
export function shopStack(scope: App | Stage = new App()): Stack {
  return new Stack(scope, 'Shop', { env: { region: 'eu-central-1', account: '111122223333' } });
}

/** A function in it. */
export function functionIn(stack: Stack, id = 'Checkout'): lambda.Function {
  return new lambda.Function(stack, id, {
    runtime: lambda.Runtime.NODEJS_24_X,
    handler: 'index.handler',
    code: lambda.Code.fromInline('exports.handler = async () => ({ statusCode: 200 });'),
  });
}

/** The alias that its callers use. */
export function aliasIn(stack: Stack, id = 'Checkout'): lambda.Alias {
  return new lambda.Alias(stack, `${id}Live`, { aliasName: 'live', version: functionIn(stack, id).currentVersion });
}
