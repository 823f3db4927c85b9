// Copies the packaged functions (`make build`) into the package, so that who installs it needs no Rust.
import { cp, readdir, rm } from 'node:fs/promises';

const built = new URL('../../../target/lambda/', import.meta.url);
const packed = new URL('../dist/functions/', import.meta.url);
const functions = [
  'before-allow-traffic',
  'after-allow-traffic',
  'alarm-handler',
  'deployment-recorder',
  'watcher',
  'hook-watchdog',
];

await rm(packed, { recursive: true, force: true });
for (const name of functions) {
  try {
    await cp(new URL(`${name}/bootstrap.zip`, built), new URL(`${name}/bootstrap.zip`, packed));
  } catch (error) {
    console.error(`pack:functions: ${error.message}. Run \`make build\` at the root of the repository first.`);
    process.exit(3);
  }
}
