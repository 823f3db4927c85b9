import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';

/** Folders of the functions in `target/lambda`. */
export const FUNCTIONS = [
  'before-allow-traffic',
  'after-allow-traffic',
  'alarm-handler',
  'deployment-recorder',
  'watcher',
  'hook-watchdog',
];

/** Writes files in the place of packaged functions, so that synth needs no Rust; returns their folder. */
export function standIns(folder = fs.mkdtempSync(path.join(os.tmpdir(), 'snapback-functions-'))): string {
  for (const name of FUNCTIONS) {
    fs.mkdirSync(path.join(folder, name), { recursive: true });
    fs.writeFileSync(path.join(folder, name, 'bootstrap.zip'), `a stand-in of ${name}`);
  }
  return folder;
}

if (require.main === module) standIns(process.argv[2]);
