import * as fs from 'node:fs';
import * as zlib from 'node:zlib';

/** The processor in the header of an ELF file, in the words of Lambda. */
const MACHINES: Record<number, string> = { 62: 'x86_64', 183: 'arm64' };
const LOCAL_FILE = 0x04034b50;
const DEFLATED = 8;
/** More than the header of any file in the archive, however well it is compressed. */
const BYTES_READ = 65_536;

/**
 * The processor for which a packaged function is built: `arm64` or `x86_64`; undefined when the file is no archive whose first
 * entry is a program of either.
 */
export function processorOf(archive: string): string | undefined {
  const start = readStart(archive);
  if (start.length < 30 || start.readUInt32LE(0) !== LOCAL_FILE) return undefined;
  const contents = start.subarray(30 + start.readUInt16LE(26) + start.readUInt16LE(28));
  const program = start.readUInt16LE(8) === DEFLATED ? inflateStart(contents) : contents;
  if (program.length < 20 || program.toString('latin1', 0, 4) !== '\x7fELF') return undefined;
  return MACHINES[program.readUInt16LE(18)];
}

function readStart(file: string): Buffer {
  const descriptor = fs.openSync(file, 'r');
  try {
    const buffer = Buffer.alloc(BYTES_READ);
    return buffer.subarray(0, fs.readSync(descriptor, buffer, 0, BYTES_READ, 0));
  } finally {
    fs.closeSync(descriptor);
  }
}

/** What the beginning of a compressed entry holds; empty when it is no such thing. */
function inflateStart(compressed: Buffer): Buffer {
  try {
    return zlib.inflateRawSync(compressed, { finishFlush: zlib.constants.Z_SYNC_FLUSH });
  } catch {
    return Buffer.alloc(0);
  }
}
