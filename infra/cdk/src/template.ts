import * as fs from 'node:fs';
import * as path from 'node:path';
import { FileSystem, Token } from 'aws-cdk-lib';
import { CfnInclude } from 'aws-cdk-lib/cloudformation-include';
import type { Construct, IConstruct } from 'constructs';
import { problem } from './problem';

/** Values of a template's parameters by name. */
export type Values = Record<string, string | string[] | number>;

interface Parameter {
  readonly Description: string;
  readonly Default?: string | number;
  readonly AllowedPattern?: string;
  readonly AllowedValues?: Array<string | number>;
  readonly ConstraintDescription?: string;
  readonly MinValue?: number;
  readonly MaxValue?: number;
}

interface Resource {
  readonly Type: string;
  readonly Condition?: string;
  readonly Properties: Record<string, unknown>;
}

/** How a template becomes a part of somebody's stack. */
export interface IncludeOptions {
  /** Whether resources keep their logical ids, and outputs are kept. */
  readonly asWholeStack: boolean;
}

const NO_VALUE = Symbol('AWS::NoValue');

/**
 * A CloudFormation template of this package. At synth the values of its parameters are known, so its conditions are answered here:
 * CloudFormation refuses a condition that refers to a resource, as a value may, and CDK warns about one that compares constants.
 */
export class Template {
  private readonly parameters: Record<string, Parameter>;
  private readonly conditions: Record<string, unknown>;
  private readonly resources: Record<string, Resource>;
  /** The other sections. Description, metadata and rules are for who deploys the template by itself. */
  private readonly transform: Record<string, unknown>;
  private readonly outputs: unknown;

  /** @param name path without its ending: `installation`, `protect/lambda` */
  constructor(private readonly name: string) {
    const file = path.join(__dirname, 'templates', `${name}.json`);
    const { Parameters, Conditions, Resources, Outputs, Transform, Globals } = JSON.parse(fs.readFileSync(file, 'utf8'));
    this.parameters = Parameters;
    this.conditions = Conditions;
    this.resources = Resources;
    this.outputs = Outputs;
    this.transform = { Transform, Globals };
  }

  /** Whether the template has this parameter. */
  knows(parameter: string): boolean {
    return parameter in this.parameters;
  }

  /** The values that parameters have when none is given. */
  defaults(): Values {
    const defaults = Object.entries(this.parameters).map(([name, declared]) => [name, declared.Default]);
    return Object.fromEntries(defaults.filter(([, value]) => value !== undefined));
  }

  /**
   * Checks a value as CloudFormation checks that of a parameter.
   *
   * @param name names the parameter in words that the user of the construct knows
   * @throws Error when the value is not allowed
   */
  check(where: IConstruct, parameter: string, value: string | number, name: string): void {
    const declared = this.parameters[parameter];
    if (declared === undefined || Token.isUnresolved(value)) return;
    const allowed = allowedInstead(declared, value);
    if (allowed !== undefined) {
      throw problem(where, `${name} is ${JSON.stringify(value)}; allowed is ${allowed}.`, declared.Description);
    }
  }

  /**
   * Property of each resource that has it, evaluated.
   *
   * @param values of all parameters
   */
  property(name: string, values: Values): unknown[] {
    return Object.values(this.existing(values)).flatMap((resource) => resource.Properties[name] ?? []);
  }

  /**
   * Makes the resources.
   *
   * @param values of all parameters
   */
  include(scope: Construct, id: string, values: Values, options: IncludeOptions): CfnInclude {
    const resources = this.existing(values);
    const outputs = options.asWholeStack ? this.evaluate(this.outputs, values) : undefined;
    const globals = this.evaluate(this.transform, values) as object;
    // CfnInclude reads files only.
    const folder = FileSystem.mkdtemp('snapback-');
    const templateFile = path.join(folder, 'template.json');
    fs.writeFileSync(templateFile, JSON.stringify({ ...globals, Resources: resources, Outputs: outputs }));
    const included = new CfnInclude(scope, id, { templateFile, preserveLogicalIds: options.asWholeStack });
    fs.rmSync(folder, { recursive: true });
    return included;
  }

  /** The resources whose condition holds, evaluated. */
  private existing(values: Values): Record<string, Resource> {
    const existing = Object.entries(this.resources).filter(
      ([, { Condition }]) => Condition === undefined || this.holds(Condition, values),
    );
    return Object.fromEntries(
      existing.map(([id, { Condition, ...resource }]) => [id, this.evaluate(resource, values) as Resource]),
    );
  }

  private holds(condition: string, values: Values): boolean {
    if (!(condition in this.conditions)) throw new Error(`the template ${this.name} has no condition ${condition}`);
    return this.evaluate(this.conditions[condition], values) === true;
  }

  /** A part of the template with the values of the parameters; what refers to resources stays as it is. */
  private evaluate(part: unknown, values: Values): unknown {
    if (Array.isArray(part)) return part.map((item) => this.evaluate(item, values)).filter((item) => item !== NO_VALUE);
    if (typeof part !== 'object' || part === null) return part;
    const [name, argument] = Object.entries(part)[0] ?? [];
    const items: unknown[] = Array.isArray(argument) ? argument : [argument];
    const item = (index: number) => this.evaluate(items[index], values);
    switch (name) {
      case 'Ref':
        return argument === 'AWS::NoValue' ? NO_VALUE : (values[String(argument)] ?? part);
      case 'Fn::Equals':
        return item(0) === item(1);
      case 'Fn::Not':
        return item(0) !== true;
      case 'Fn::Join':
        return (item(1) as string[]).join(String(item(0)));
      case 'Fn::If':
        return item(this.holds(String(items[0]), values) ? 1 : 2);
      case 'Fn::Sub':
        return substitute(String(items[0]), { ...values, ...(item(1) as Values | undefined) });
      default: {
        const members = Object.entries(part).map(([key, member]) => [key, this.evaluate(member, values)]);
        return Object.fromEntries(members.filter(([, member]) => member !== NO_VALUE));
      }
    }
  }
}

/** The text with its parameters; still a substitution where it names something else. */
function substitute(text: string, values: Values): unknown {
  const names = [...text.matchAll(/\$\{([\w:.]+)\}/g)].map(([, name]) => name ?? '');
  const given = names.filter((name) => name in values);
  if (given.length === 0) return names.length === 0 ? text : { 'Fn::Sub': text };
  if (given.length < names.length) {
    const variables = given.map((name) => [name, values[name]]);
    return { 'Fn::Sub': [text, Object.fromEntries(variables)] };
  }
  return text.replace(/\$\{(\w+)\}/g, (_, name: string) => String(values[name]));
}

/** What is allowed, when `value` is not. */
function allowedInstead(declared: Parameter, value: string | number): string | undefined {
  const { AllowedValues: words, AllowedPattern: text, MinValue: least = -Infinity, MaxValue: most = Infinity } = declared;
  if (words !== undefined && !words.map(String).includes(String(value))) return words.join(', ');
  if (text !== undefined && !pattern(text).test(String(value))) return declared.ConstraintDescription ?? text;
  if (Number(value) < least || Number(value) > most) return `${least} to ${most}`;
  return undefined;
}

/** CloudFormation's patterns are Java's, and JavaScript has no word for control characters. */
function pattern(text: string): RegExp {
  return new RegExp(text.replaceAll('\\p{Cntrl}', '\\x00-\\x1f\\x7f'));
}
