/** Manifests as people have them for Calico: applied unchanged, stored whole, and understood. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { decodeObject, formatPath, identify } from '#datastore';
import { type ApiServer, apiServerAssets, startApiServer } from '../../support/kube/api-server.ts';
import type { KubeObject } from '../../support/kube/objects.ts';
import { needs } from '../../support/needs.ts';
import { sayVerdict, tryCreate } from './definitions.ts';
import { installDefinitions } from './install.ts';

const folder = path.join(import.meta.dirname, '..', '..', 'fixtures', 'calico');
const files = fs.readdirSync(folder).filter((file) => file.endsWith('.yaml'));

function objectsIn(file: string): KubeObject[] {
  const documents = parseAllDocuments(fs.readFileSync(path.join(folder, file), 'utf8'));
  return documents.flatMap((document) => {
    const value = document.toJS() as KubeObject & { readonly items?: readonly KubeObject[] };
    return value.items ? [...value.items] : [value];
  });
}

/** As the decoder reads it from a directory or from an API server. */
function problems(object: KubeObject, source: 'directory' | 'api'): string[] {
  const identity = identify(object);
  assert.equal(identity.type, 'object');
  if (identity.type !== 'object') return [];
  const { faults } = decodeObject(identity.kind, object, source);
  return faults.map(({ path: field, message }) => `${formatPath(field)}: ${message}`);
}

suite('manifests made for Calico', needs({ commands: ['setpriv'], kube: apiServerAssets }), () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer();
    await installDefinitions(server);
  });
  after(() => server.stop());

  test('there are enough, of every kind', () => {
    const all = files.flatMap(objectsIn);
    assert.ok(all.length >= 20, `${all.length}`);
    assert.equal(new Set(all.map(({ kind }) => kind)).size, 6);
  });

  for (const file of files) {
    test(`${file}: accepted whole, and understood from a directory and from the API server`, async () => {
      for (const object of objectsIn(file)) {
        const verdict = await tryCreate(server, object);
        assert.ok(verdict.accepted, `${object.metadata.name}: ${sayVerdict(verdict)}`);
        const { spec, ...rest } = object;
        assert.partialDeepStrictEqual(verdict.object, spec === null ? rest : object);
        assert.deepEqual(problems(object, 'directory'), []);
        assert.deepEqual(problems(verdict.object, 'api'), []);
        const stored = { ...object, apiVersion: 'crd.projectcalico.org/v1' };
        assert.deepEqual(problems(stored, 'api'), [], 'as an existing Calico has stored it');
      }
    });
    test(`${file}: kubectl apply, twice`, async () => {
      // Objects of one name stand in several files.
      const args = ['apply', '--warnings-as-errors', '-f', path.join(folder, file)];
      const [first, again] = [await server.kubectl(args), await server.kubectl(args)];
      assert.doesNotMatch(first, /unchanged/);
      assert.equal(again.trim().split('\n').length, again.match(/unchanged/g)?.length, again);
      await server.kubectl(['delete', '-f', path.join(folder, file)]);
    });
  }
});
