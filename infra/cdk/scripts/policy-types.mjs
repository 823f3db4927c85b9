// Writes src/policy.ts from the JSON schema of the policy file: the typed policy is the documented one.
// It knows just the words that this schema uses, and refuses others.
import { readFile, writeFile } from 'node:fs/promises';

const schema = JSON.parse(await readFile(new URL('../../../shared/wire/policy.schema.json', import.meta.url), 'utf8'));

/** The TypeScript type of a schema. */
function typeOf(node) {
  if (node.$ref) {
    const name = node.$ref.replace('#/$defs/', '');
    return isInterface(schema.$defs[name]) ? name : typeOf(schema.$defs[name]);
  }
  const choices = node.oneOf ?? node.anyOf;
  if (choices) return choices.map(typeOf).join(' | ');
  if ('const' in node) return JSON.stringify(node.const);
  if (Array.isArray(node.type)) return node.type.map((type) => typeOf({ ...node, type })).join(' | ');
  switch (node.type) {
    case 'object':
      return isInterface(node) ? choice(node) : `Record<string, ${typeOf(node.additionalProperties)}>`;
    case 'array':
      return `Array<${typeOf(node.items)}>`;
    case 'integer':
      return 'number';
    case 'string':
    case 'number':
    case 'boolean':
    case 'null':
      return node.type;
    case undefined:
      return 'unknown';
    default:
      throw new Error(`policy-types: schema type ${node.type} is new here; teach scripts/policy-types.mjs about it`);
  }
}

function isInterface(node) {
  return node.type === 'object' && node.properties !== undefined;
}

/** One of several kinds, told apart by its only member: `{ invoke: InvokeFile }`. */
function choice(node) {
  const [[name, member], ...others] = Object.entries(node.properties);
  if (others.length > 0) throw new Error(`policy-types: a choice with the members ${Object.keys(node.properties)} is new here`);
  return `{ ${name}: ${typeOf(member)} }`;
}

function members(node) {
  const required = new Set(node.required ?? []);
  return Object.entries(node.properties)
    .map(([name, member]) => `${comment(member, '  ')}  ${name}${required.has(name) ? '' : '?'}: ${typeOf(member)};\n`)
    .join('');
}

/** The description of a member; that of its type where a text has a form (durations, percentages). */
function comment(node, indent = '') {
  const lines = (node.description ?? '').split('\n').filter(Boolean);
  const form = node.$ref && schema.$defs[node.$ref.replace('#/$defs/', '')];
  if (form?.description && !isInterface(form) && !form.oneOf) lines.push(form.description);
  if ('default' in node) lines.push('', `@default ${JSON.stringify(node.default)}`);
  return lines.length === 0
    ? ''
    : `${indent}/**\n${lines.map((line) => `${indent} * ${line}`.trimEnd()).join('\n')}\n${indent} */\n`;
}

const named = Object.entries({ ...schema.$defs, [schema.title]: schema }).filter(([, node]) => isInterface(node));
const interfaces = named.map(([name, node]) => `${comment(node)}export interface ${name} {\n${members(node)}}\n`);
const text = `// Generated from shared/wire/policy.schema.json by scripts/policy-types.mjs.\n\n${interfaces.join('\n')}`;
await writeFile(new URL('../src/policy.ts', import.meta.url), text);
