import { App } from 'aws-cdk-lib';
import { checkWithNag } from './nag';
import { shop } from './shop';

const app = new App();
checkWithNag(app, shop(app, app.node.tryGetContext('binaries') ?? '../../target/lambda'));
app.synth();
