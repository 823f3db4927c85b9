import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import * as zlib from 'node:zlib';

/** Folders of the functions in `target/lambda`. */
export const FUNCTIONS = [
  'before-allow-traffic',
  'after-allow-traffic',
  'alarm-handler',
  'deployment-recorder',
  'watcher',
  'hook-watchdog',
];

const temporary: string[] = [];
process.once('exit', () => temporary.forEach((folder) => fs.rmSync(folder, { recursive: true })));

/** Writes archives in the place of packaged functions, so that synth needs no Rust. */
export function writeStandIns(folder: string, processor: Processor = 'arm64'): void {
  for (const name of FUNCTIONS) {
    fs.mkdirSync(path.join(folder, name), { recursive: true });
    fs.writeFileSync(path.join(folder, name, 'bootstrap.zip'), archive(program(processor, name), 'deflated'));
  }
}

/** A folder of such archives, which is gone when the tests are over. */
export function standIns(processor?: Processor): string {
  const folder = temporaryFolder();
  writeStandIns(folder, processor);
  return folder;
}

/** A folder that is gone when the tests are over. */
export function temporaryFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'snapback-functions-'));
  temporary.push(folder);
  return folder;
}

type Processor = 'arm64' | 'x86_64';

/** The header of a Linux program, and a text behind it. */
export function program(processor: Processor, text: string): Buffer {
  const header = Buffer.alloc(64);
  header.write('\x7fELF', 'latin1');
  header.writeUInt16LE({ arm64: 183, x86_64: 62 }[processor], 18);
  return Buffer.concat([header, Buffer.from(text)]);
}

/** A zip archive that holds `bootstrap`, without the directory at its end. */
export function archive(contents: Buffer, method: 'stored' | 'deflated'): Buffer {
  const name = Buffer.from('bootstrap');
  const header = Buffer.alloc(30);
  header.writeUInt32LE(0x04034b50);
  header.writeUInt16LE(method === 'deflated' ? 8 : 0, 8);
  header.writeUInt16LE(name.length, 26);
  return Buffer.concat([header, name, method === 'deflated' ? zlib.deflateRawSync(contents) : contents]);
}

if (require.main === module) writeStandIns(process.argv[2] ?? '.');
