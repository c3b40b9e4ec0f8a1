/** For the tests beside this file: YAML text as what it decodes to. */
import assert from 'node:assert/strict';
import type { PasswordSource } from '#model';
import { decodeObject, identify } from './decode.ts';
import type { DocumentSource } from './metadata.ts';
import { parseManifest } from './parse.ts';
import { type FieldFault, formatPath } from './reader.ts';

/** Faults and notes as `line:field: message`. */
export function decodeText(text: string, source: DocumentSource = 'directory') {
  const parsed = parseManifest(text);
  assert.ok(parsed.ok, JSON.stringify(parsed));
  const [document] = parsed.documents;
  const identity = identify(document!.value);
  const { faults, notes, typed } =
    identity.type === 'object'
      ? decodeObject(identity.kind, document!.value, source)
      : { faults: identity.type === 'unidentified' ? identity.faults : [], notes: [], typed: undefined };
  const say = (list: readonly FieldFault[]) =>
    list.map((f) => `${document!.place(f.path).line}:${formatPath(f.path)}: ${f.message}`);
  return { identity, object: typed?.object, faults: say(faults), notes: say(notes) };
}

/** `spec` of an object of one of Calico's kinds. */
export const decodeCalico = (kind: string, spec: string, name = 'x', source: DocumentSource = 'directory') =>
  decodeText(`apiVersion: projectcalico.org/v3\nkind: ${kind}\nmetadata: {name: ${name}}\nspec: ${spec}`, source);

/** What is read, without metadata; there must be no fault. */
export function readCalico<T extends object>(kind: string, spec: string, name = 'x') {
  const { object, faults, notes } = decodeCalico(kind, spec, name);
  assert.deepEqual(faults, [], spec);
  const { metadata: _, ...rest } = object as unknown as { metadata: unknown } & T;
  return { spec: rest as unknown as Omit<T, 'metadata'>, notes };
}
export type Refused = readonly (readonly [spec: string, field: string, message: RegExp])[];
export function assertRefused(kind: string, refused: Refused, name = 'x') {
  for (const [spec, field, message] of refused) {
    const { faults, object } = decodeCalico(kind, spec, name);
    assert.equal(object, undefined, spec);
    const found = faults.filter((fault) => message.test(fault));
    assert.equal(found.length, 1, `${spec}: ${faults.join('\n') || 'accepted'}`);
    assert.match(found[0]!, new RegExp(`^[34]:${field.replace(/[[\]]/g, '\\$&')}: `), spec);
  }
}

/** Of a password that stands in the object itself. */
export const passwordText = (source: PasswordSource | undefined) => source?.type === 'value' && source.value.reveal();
