// Copies the licence and the CloudFormation templates into the package, all templates as JSON: the constructs include the very files
// that SAM deploys.
import { copyFile, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { parse } from 'yaml';

const infra = new URL('../../', import.meta.url);
const templates = new URL('../dist/templates/', import.meta.url);

/** The short forms of CloudFormation's functions that a template may use: `!Sub text` is `Fn::Sub: text`. */
const shortForms = ['Ref', 'GetAtt', 'Sub', 'If', 'Equals', 'Not', 'Join'].flatMap((name) => {
  const longForm = (argument) => {
    if (name === 'Ref') return { Ref: argument };
    if (name === 'GetAtt' && typeof argument === 'string') return { 'Fn::GetAtt': argument.split(/\.(.*)/s).slice(0, 2) };
    return { [`Fn::${name}`]: argument };
  };
  return [
    { tag: `!${name}`, resolve: longForm },
    { tag: `!${name}`, collection: 'seq', resolve: (items) => longForm(items.toJSON()) },
  ];
});

await copyFile(new URL('../LICENSE', infra), new URL('../LICENSE', import.meta.url));
await rm(templates, { recursive: true, force: true });
await mkdir(new URL('protect/', templates), { recursive: true });
const installation = parse(await readFile(new URL('sam/template.yaml', infra), 'utf8'), { customTags: shortForms });
await writeFile(new URL('installation.json', templates), JSON.stringify(installation, null, 1));
for (const name of await readdir(new URL('protect/', infra))) {
  if (!name.endsWith('.json')) continue;
  await writeFile(new URL(`protect/${name}`, templates), await readFile(new URL(`protect/${name}`, infra)));
}
