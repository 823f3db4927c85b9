import assert from 'node:assert/strict';
import { test } from 'node:test';
import { App } from 'aws-cdk-lib';
import { Annotations, Match } from 'aws-cdk-lib/assertions';
import { checkWithNag } from '../example/nag';
import { shop } from '../example/shop';
import { standIns } from './stand-ins';
import { circle, synthesized } from './synthesized';

test('the example passes cdk-nag, each exception with its reason', () => {
  const app = new App();
  const stacks = shop(app, standIns());
  checkWithNag(app, stacks);
  for (const stack of Object.values(stacks)) {
    const found = [
      ...Annotations.fromStack(stack).findError('*', Match.anyValue()),
      ...Annotations.fromStack(stack).findWarning('*', Match.anyValue()),
    ];
    assert.deepEqual(
      found.map(({ id, entry }) => `${id}: ${entry.data}`),
      [],
    );
    assert.deepEqual(circle(synthesized(stack).Resources), []);
  }
});
