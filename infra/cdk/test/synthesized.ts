import { App, Stack } from 'aws-cdk-lib';

/** A resource of a synthesized template. */
export interface Resource {
  Type: string;
  Properties: Record<string, any>;
  DependsOn?: string | string[];
  UpdatePolicy?: any;
}

/** The template of a stack, as it would be deployed. */
export function synthesized(stack: Stack): { Resources: Record<string, Resource>; [section: string]: any } {
  const app = stack.node.root as App;
  // Twice in one app is possible: a stage keeps its assembly.
  return JSON.parse(JSON.stringify(app.synth({ force: true }).getStackArtifact(stack.artifactId).template));
}

/** The resources of a type, by logical id. */
export function ofType(stack: Stack, type: string): Record<string, Resource> {
  const { Resources } = synthesized(stack);
  return Object.fromEntries(Object.entries(Resources).filter(([, resource]) => resource.Type === type));
}

/** The only resource of a type. */
export function only(stack: Stack, type: string): Resource {
  const [resource, ...others] = Object.values(ofType(stack, type));
  if (resource === undefined || others.length > 0) throw new Error(`not one ${type} but ${others.length && others.length + 1}`);
  return resource;
}

/** Logical ids that refer to one another in a circle, which CloudFormation refuses; empty when there are none. */
export function circle(resources: Record<string, Resource>): string[] {
  const done = new Set<string>();
  const visit = (id: string, path: string[]): string[] => {
    if (path.includes(id)) return [...path, id];
    if (done.has(id)) return [];
    for (const next of references(resources[id])) {
      if (!(next in resources)) continue;
      const found = visit(next, [...path, id]);
      if (found.length > 0) return found;
    }
    done.add(id);
    return [];
  };
  for (const id of Object.keys(resources)) {
    const found = visit(id, []);
    if (found.length > 0) return found;
  }
  return [];
}

/** What a part of a template refers to. */
function references(part: unknown): string[] {
  if (Array.isArray(part)) return part.flatMap(references);
  if (typeof part !== 'object' || part === null) return [];
  return Object.entries(part).flatMap(([name, value]) => {
    if (name === 'Ref') return [String(value)];
    if (name === 'DependsOn') return [value].flat().map(String);
    if (name === 'Fn::GetAtt') return [String(Array.isArray(value) ? value[0] : value).split('.')[0] ?? ''];
    if (name === 'Fn::Sub') {
      const named = [...String([value].flat()[0]).matchAll(/\$\{(\w+)/g)].map(([, id]) => id ?? '');
      return [...named, ...references(value)];
    }
    return references(value);
  });
}
