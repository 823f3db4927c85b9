import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'node:test';
import * as ts from 'typescript';

const ROOT = path.join(__dirname, '../..');
const read = (file: string) => fs.readFileSync(path.join(ROOT, file), 'utf8');

/** The examples in the comments of a file, each as a program of its own. */
function examples(file: string): string[] {
  const comments = read(file).match(/\/\*\*.*?\*\//gs) ?? [];
  return comments.flatMap((comment) => {
    const [, example] = /@example\n(.*?)\*\//s.exec(comment) ?? [];
    return example === undefined ? [] : [example.replace(/^ *\* ?/gm, '')];
  });
}

/** The code blocks of a Markdown file. */
function codeBlocks(file: string): string[] {
  return [...read(file).matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code ?? '');
}

test('the examples in comments and README compile', () => {
  const folder = path.join(ROOT, 'build/examples');
  fs.mkdirSync(folder, { recursive: true });
  const programs = [...examples('src/snapback.ts'), ...examples('src/protected-deployment.ts'), ...codeBlocks('README.md')];
  assert.ok(programs.length >= 3);
  const files = programs.map((program, index) => {
    assert.match(program, /from 'snapback-cdk'/);
    const file = path.join(folder, `example-${index}.ts`);
    fs.writeFileSync(file, program);
    return file;
  });
  const { options } = ts.parseJsonConfigFileContent({ extends: './tsconfig.json', files: [] }, ts.sys, ROOT);
  const program = ts.createProgram(files, { ...options, noEmit: true, noUnusedLocals: false, rootDir: ROOT });
  const problems = ts.getPreEmitDiagnostics(program).map((problem) => {
    return `${problem.file?.fileName}: ${ts.flattenDiagnosticMessageText(problem.messageText, '\n')}`;
  });
  assert.deepEqual(problems, []);
});

test('a misspelt member of a policy does not compile', () => {
  const file = path.join(ROOT, 'build/examples/misspelt.ts');
  fs.writeFileSync(
    file,
    "import type { PolicyFile } from 'snapback-cdk';\nexport const policy: Partial<PolicyFile> = { backe: '1m' };\n",
  );
  const { options } = ts.parseJsonConfigFileContent({ extends: './tsconfig.json', files: [] }, ts.sys, ROOT);
  const [problem] = ts.getPreEmitDiagnostics(ts.createProgram([file], { ...options, noEmit: true, rootDir: ROOT }));
  assert.match(ts.flattenDiagnosticMessageText(problem?.messageText, '\n'), /'backe' does not exist/);
});

test('the package holds what it needs and nothing else', () => {
  const packed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: ROOT, encoding: 'utf8' });
  const files: string[] = JSON.parse(packed)[0].files.map((file: { path: string }) => file.path);
  for (const needed of ['README.md', 'LICENSE', 'dist/index.js', 'dist/index.d.ts', 'dist/templates/installation.json']) {
    assert.ok(files.includes(needed), needed);
  }
  for (const kind of ['lambda', 'rest-api', 'http-api', 'load-balancer']) {
    assert.ok(files.includes(`dist/templates/protect/${kind}.json`), kind);
  }
  const others = files.filter((file) => !/^dist\/|^(package\.json|README\.md|LICENSE)$/.test(file));
  assert.deepEqual(others, []);
});

test('the package has the version of the workspace and no dependency at run time', () => {
  const manifest = JSON.parse(read('package.json'));
  assert.match(read('../../Cargo.toml'), new RegExp(`^version = "${manifest.version}"$`, 'm'));
  assert.equal(manifest.dependencies, undefined);
  assert.deepEqual(Object.keys(manifest.peerDependencies), ['aws-cdk-lib', 'constructs']);
});

test('the lock file names no registry', () => {
  assert.doesNotMatch(read('package-lock.json'), /"resolved"/);
});
