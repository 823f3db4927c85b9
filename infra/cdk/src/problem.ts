import type { IConstruct } from 'constructs';

/**
 * An error at synth.
 *
 * @param where the construct that is wrong; its path begins the message
 * @param what what is wrong, and why that cannot work: sentences
 * @param next what to do: a sentence
 */
export function problem(where: IConstruct, what: string, next: string): Error {
  return new Error(`${where.node.path}: ${what} ${next}`);
}
