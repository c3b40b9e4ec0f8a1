/** The definitions of deploy/crds as somebody with kubectl meets them. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { untilServed } from '../../support/kube/agent.ts';
import { type ApiServer, apiServerAssets, startApiServer } from '../../support/kube/api-server.ts';
import type { KubeObject } from '../../support/kube/objects.ts';
import { needs } from '../../support/needs.ts';
import { until } from '../../support/wait.ts';
import { calicoPolicies } from './calico-policy-objects.ts';
import { definitionOf, definitions, folder, schemaNodes, schemaOf } from './definitions.ts';
import { conditionsOf } from './install.ts';
import { accepted, objectOf, poplinNode } from './objects.ts';

/** Rows of kubectl's table, by column. */
function rows(text: string): Record<string, string>[] {
  const [header, ...lines] = text.trimEnd().split('\n') as [string, ...string[]];
  const columns = [...header.matchAll(/\S+(?: \S+)*/g)].map((match) => ({ name: match[0], at: match.index }));
  return lines.map((line) =>
    Object.fromEntries(columns.map(({ name, at }, i) => [name, line.slice(at, columns[i + 1]?.at).trim()])),
  );
}

suite('definitions under kubectl', needs({ commands: ['setpriv'], kube: apiServerAssets }), () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer();
  });
  after(() => server.stop());

  test('they install without a warning, are served, and have structural schemas', async () => {
    const applied = await server.kubectl(['apply', '--warnings-as-errors', '-f', folder]);
    assert.equal(applied.match(/ created$/gm)?.length, definitions.length);
    for (const definition of definitions) {
      const { name } = definition.metadata;
      const conditions = await until(
        async () => {
          const found = await conditionsOf(server, definition);
          return found.some(({ type, status }) => type === 'Established' && status === 'True') && found;
        },
        { what: `${name} to be established`, deadlineMs: 60_000 },
      );
      const bad = conditions.filter(
        ({ type, status }) => (type === 'NamesAccepted') !== (status === 'True') && type !== 'Established',
      );
      assert.deepEqual(bad, [], name);
    }
    await untilServed(server, definitions);
    const again = await server.kubectl(['apply', '--warnings-as-errors', '-f', folder]);
    assert.equal(again.match(/ unchanged$/gm)?.length, definitions.length, 'applying them again changes nothing');
  });

  test('defaults are filled in', async () => {
    const stored = async (object: KubeObject) => {
      const { spec } = await server.objects.create(object);
      await server.objects.delete(object);
      return spec;
    };
    assert.deepEqual(await stored(objectOf('BGPConfiguration', undefined, { name: 'default' })), {
      logSeverityScreen: 'Info',
      serviceLoadBalancerAggregation: 'Enabled',
    });
    assert.deepEqual(await stored(objectOf('IPPool', { cidr: '10.0.0.0/8' })), {
      cidr: '10.0.0.0/8',
      nodeSelector: 'all()',
      assignmentMode: 'Automatic',
    });
    assert.deepEqual(await stored(objectOf('FelixConfiguration', undefined, { name: 'default' })), {});
    assert.deepEqual(await stored(objectOf('BGPFilter', undefined)), {});
  });

  test('a status is written by its subresource alone', async () => {
    for (const object of accepted.filter((one) => 'status' in one)) {
      const { metadata, status } = await server.objects.create(object);
      assert.equal(status, undefined, object.kind);
      const written = { ...object, metadata: { ...object.metadata, resourceVersion: metadata.resourceVersion! } };
      const replaced = await server.objects.replace(written, { subresource: 'status' });
      assert.deepEqual(replaced['status'], object['status'], object.kind);
      assert.equal(replaced.metadata.generation, metadata.generation, 'a status is no new generation');
    }
  });

  /** The row of the object that the test before has stored, of kubectl's table. */
  const rowOf = async (resource: string, name: string, ...args: string[]) => {
    const found = rows(await server.kubectl(['get', resource, ...args])).find((row) => row['NAME'] === name);
    assert.ok(found, resource);
    const { AGE, UPDATED, SEEN, ...rest } = found;
    assert.match(AGE!, /^\d+[smh]/);
    for (const time of [UPDATED, SEEN]) if (time !== undefined) assert.match(time, /^\S+$/);
    return rest;
  };

  test('kubectl get reads well', async () => {
    assert.deepEqual(await rowOf('bgpconfigurations', 'default'), {
      NAME: 'default',
      AS: '64512',
      MESH: 'true',
      PORT: '179',
      ACCEPTED: 'True',
    });
    assert.deepEqual(await rowOf('bgppeers', 'x'), {
      NAME: 'x',
      NODE: 'n1',
      'NODE SELECTOR': '',
      'PEER IP': '192.0.2.1',
      'PEER SELECTOR': '',
      INTERFACE: '',
      RANGE: '',
      'PEER ASN': '64513',
      ESTABLISHED: '',
    });
    assert.deepEqual(await rowOf('bgpfilters', 'x'), { NAME: 'x', APPLIED: '' });
    assert.deepEqual(await rowOf('ippools', 'x'), {
      NAME: 'x',
      CIDR: '10.0.0.0/8',
      NAT: 'true',
      'BGP EXPORT OFF': 'true',
      DISABLED: 'true',
      ACCEPTED: 'True',
    });
    assert.deepEqual(await rowOf('caliconodestatuses', 'x'), {
      NAME: 'x',
      NODE: 'n1',
      CLASSES: '["Agent"]',
      PERIOD: '10',
    });
    assert.deepEqual(await rowOf('felixconfigurations', 'default'), { NAME: 'default', ACCEPTED: 'True' });
    const { NAME: _, ...wide } = await rowOf('poplinnodes', 'x', '-o', 'wide');
    assert.deepEqual(wide, {
      READY: 'True',
      SESSIONS: '2/2',
      PODS: '7',
      ROUTES: '30',
      POLICIES: '3',
      VERSION: '0.2.0',
      ADDRESS: '192.0.2.10',
      REASON: 'all is well',
    });
  });

  test('a peer shows whether its sessions are up', async () => {
    const peer = objectOf('BGPPeer', { peerIP: '192.0.2.9', asNumber: '1.10' }, { name: 'seen' });
    await server.objects.create(peer);
    const condition = {
      type: 'Established',
      status: 'False',
      reason: 'Idle',
      message: 'x',
      lastTransitionTime: '2026-11-25T19:00:00Z',
    };
    await server.objects.patch(peer, { status: { conditions: [condition] } }, { subresource: 'status' });
    assert.partialDeepStrictEqual(await rowOf('bgppeers', 'seen'), { ESTABLISHED: 'False', 'PEER ASN': '1.10' });
    const wide = rows(await server.kubectl(['get', 'bgppeers', '-o', 'wide']))[0]!;
    assert.ok('LOCAL ASN' in wide);
  });

  test('short names and the category', async () => {
    const shortNames = definitions.flatMap(({ spec }) =>
      (spec.names.shortNames ?? []).map((name) => [name, spec.names.kind.toLowerCase()]),
    );
    // Of the others tests before have stored one.
    const stored = [...new Map(calicoPolicies.map((object) => [object.kind, object])).values()];
    for (const object of stored) await server.objects.create(object);
    assert.ok(shortNames.length >= 10);
    for (const [shortName, kind] of shortNames) {
      assert.match(
        await server.kubectl(['get', shortName!, '-o', 'name']),
        new RegExp(`^${kind!}\\.\\S*/\\S`),
        shortName,
      );
    }
    const all = await server.kubectl(['get', 'poplin', '-o', 'name']);
    for (const { spec } of definitions) assert.match(all, new RegExp(`^${spec.names.kind.toLowerCase()}\\.`, 'm'));
  });

  test('kubectl explain describes every field', async () => {
    for (const { spec } of definitions) {
      const { plural, kind } = spec.names;
      const objects = [...schemaNodes(schemaOf(definitionOf(kind)))]
        .filter(([at, schema]) => /^(\.(spec|status).*)?$/.test(at) && schema.properties)
        .map(([at]) => at.replaceAll('[]', ''))
        // The four lists of BGPFilter are one text; the first stands for them.
        .filter((at) => !/importV|exportV6/.test(at));
      for (const at of objects) {
        const text = await server.kubectl([
          'explain',
          `${plural}${at}`,
          `--api-version=${spec.group}/${spec.versions[0].name}`,
        ]);
        assert.match(text, /^DESCRIPTION:\n {4}\S/m, `${plural}${at}`);
        assert.doesNotMatch(text, /<no description>/, `${plural}${at}`);
      }
    }
  });

  test('server-side apply of a status owns its entries by key', async () => {
    const node = objectOf('PoplinNode', undefined, { name: 'applied' });
    await server.objects.create(node);
    const status = poplinNode['status'];
    await server.objects.apply({ ...node, status }, { subresource: 'status' });
    const kinds = [
      { kind: 'Pod', state: 'synced' },
      { kind: 'Node', state: 'failing', reason: 'x' },
    ];
    await server.objects.apply({ ...node, status: { kinds } }, { subresource: 'status' });
    const stored = await server.objects.get(node);
    assert.deepEqual(stored!['status'], { kinds }, 'what is not applied again goes away');
  });
});
