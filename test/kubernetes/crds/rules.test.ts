/** Every constraint of every definition in deploy/crds: what it is for is refused with a message, what is just good is accepted. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { decodeObject, identify } from '#datastore';
import { type ApiServer, apiServerAssets, startApiServer } from '../../support/kube/api-server.ts';
import type { KubeObject } from '../../support/kube/objects.ts';
import { needs } from '../../support/needs.ts';
import { badNames, calicoPolicies, neverAccepted } from './calico-policy-objects.ts';
import { celCases } from './cel-cases.ts';
import { type Change, changed, changes, constraintsOf, fieldOf } from './constraints.ts';
import {
  causesOf,
  definitions,
  sayVerdict,
  schemaNodes,
  schemaOf,
  tryCreate,
  tryReplace,
  type Verdict,
} from './definitions.ts';
import { installDefinitions } from './install.ts';
import { accepted as acceptedObjects, objectOf } from './objects.ts';

const accepted = [...acceptedObjects, ...calicoPolicies];

/** Values that are good by themselves and not beside the others of their object. */
const refusedBesideOthers: readonly RegExp[] = [
  /^enum \.spec\.\w+\[\]\.action = "Reject"$/, // operations
  /^enum \.spec\.allowedUses\[\] = "(LoadBalancer|Tunnel)"$/, // namespaceSelector, disableBGPExport
  /^m\w+ \.spec\.blockSize = (0|128)$/, // of an IPv4 pool
  /^maxItems \.spec\.tcpAO\.keys = /, // of one key: ids have to differ
  /^maxLength \.spec\.node = /, // no length of it is refused
  /^enum \.spec\.stagedAction = "Delete"$/, // whatever else it says
];

/** Said of a rule that matches nothing, or all, because the agent does not understand it. */
const unread = /^cannot be read, and the rule fails closed/;

const rules = definitions.flatMap((definition) =>
  [...schemaNodes(schemaOf(definition))].flatMap(([at, schema]) =>
    (schema['x-kubernetes-validations'] ?? []).map(({ message }) => ({
      kind: definition.spec.names.kind,
      at,
      message,
    })),
  ),
);

suite('definitions', needs({ commands: ['setpriv'], kube: apiServerAssets }), () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer();
    await installDefinitions(server);
  });
  after(() => server.stop());

  const withoutStatus = ({ status: _, ...rest }: KubeObject): KubeObject => rest as KubeObject;

  /** Runs `body` while the object, without its status, is stored. */
  async function whileStored(object: KubeObject, body: () => Promise<void>): Promise<void> {
    await server.objects.create(withoutStatus(object));
    try {
      await body();
    } finally {
      await server.objects.delete(object);
    }
  }

  test('the objects that tests begin with are accepted, field by field', async () => {
    const assertAccepted = (verdict: Verdict, object: KubeObject) => {
      assert.ok(verdict.accepted, `${object.kind}: ${sayVerdict(verdict)}`);
      assert.partialDeepStrictEqual(verdict.object, object, 'nothing of it is dropped');
    };
    for (const object of accepted) {
      assertAccepted(await tryCreate(server, withoutStatus(object)), withoutStatus(object));
      if (!('status' in object)) continue;
      await whileStored(object, async () => assertAccepted(await tryReplace(server, object, 'status'), object));
    }
  });

  for (const definition of definitions) {
    const { kind } = definition.spec.names;
    test(`${kind}: every constraint refuses what it is for, and no more`, async () => {
      const schema = schemaOf(definition);
      const seen = new Set<string>();
      const wrong: string[] = [];
      const judgeAll = async (object: KubeObject, top: string, judge: (changed: KubeObject) => Promise<Verdict>) => {
        const before = new Set(seen);
        for (const change of changes(schema, object)) {
          if (change.path[0] !== top || before.has(change.constraint)) continue;
          seen.add(change.constraint);
          const said = complaint(change, await judge(changed(object, change.path, change.value) as KubeObject));
          if (said) wrong.push(said);
        }
      };
      for (const object of accepted.filter((one) => one.kind === kind)) {
        await judgeAll(withoutStatus(object), 'spec', (one) => tryCreate(server, one));
        if (!('status' in object)) continue;
        await whileStored(object, () => judgeAll(object, 'status', (one) => tryReplace(server, one, 'status')));
      }
      assert.deepEqual(wrong, []);
      const all = [...schemaNodes(schema)]
        .filter(([at]) => /^\.(spec|status)/.test(at))
        .flatMap((node) => constraintsOf(...node));
      assert.ok(all.length > 2);
      assert.deepEqual(
        all.filter((constraint) => !seen.has(constraint) && !neverAccepted.test(constraint)),
        [],
        'constraints that no object of test/kubernetes/crds/objects.ts reaches',
      );
    });
  }

  function complaint({ constraint, path, value, refusal }: Change, verdict: Verdict): string | undefined {
    const shown = `${constraint} = ${JSON.stringify(value)?.slice(0, 60)}`;
    if (!refusal) {
      if (refusedBesideOthers.some((pattern) => pattern.test(shown))) return undefined;
      return verdict.accepted ? undefined : `${shown}: should be accepted: ${sayVerdict(verdict)}`;
    }
    const field = fieldOf(path);
    const found = causesOf(verdict).some((cause) => cause.field.startsWith(field) && refusal.test(cause.message));
    return found ? undefined : `${shown}: ${field} should say ${refusal}: ${sayVerdict(verdict)}`;
  }

  const ruleText = (kind: string, at: string, message: string) => `${kind}${at}: ${message}`;

  test('every CEL rule has a case, and every case a rule', () => {
    assert.ok(rules.length > 70, `${rules.length} rules`);
    const casesOf = (rule: (typeof rules)[number]) =>
      celCases.filter((one) => one.kind === rule.kind && one.at === rule.at && one.message.test(rule.message));
    for (const rule of rules) {
      assert.equal(casesOf(rule).length, 1, `cases of ${ruleText(rule.kind, rule.at, rule.message)}`);
    }
    assert.equal(celCases.length, rules.length);
  });

  test('what the definitions let through is understood by the agent', () => {
    const objects = [...accepted, ...celCases.flatMap((one) => one.accepted)].filter(
      ({ kind }) => kind !== 'PoplinNode',
    );
    assert.ok(objects.length > 100);
    for (const object of objects) {
      const identity = identify(object);
      assert.ok(identity.type === 'object', object.kind);
      const { faults, notes } = decodeObject(identity.kind, object, 'api');
      const unsupported = (object['spec'] as { localWorkloadSelector?: string } | undefined)?.localWorkloadSelector;
      const expected = unsupported ? ['spec.localWorkloadSelector'] : [];
      assert.deepEqual(
        [...faults, ...notes.filter((note) => unread.test(note.message))].map(({ path }) => path.join('.')),
        expected,
        JSON.stringify({ object, faults, notes }),
      );
    }
  });

  test('what is no domain name is refused, by the definitions as by the agent', async () => {
    for (const name of badNames) {
      const egress = [{ action: 'Allow', destination: { domains: [name] } }];
      const policy = objectOf('GlobalNetworkPolicy', { egress });
      const verdict = await tryCreate(server, policy);
      assert.match(causesOf(verdict)[0]?.message ?? '', /should match/, `${name}: ${sayVerdict(verdict)}`);
      const { notes } = decodeObject('GlobalNetworkPolicy', policy, 'api');
      assert.match(notes[0]?.message ?? '', unread, name);
    }
  });

  for (const { kind, at, message, field, accepted: good, refused, stored } of celCases) {
    test(ruleText(kind, at, String(message)), async () => {
      const rule = rules.find((one) => one.kind === kind && one.at === at && message.test(one.message))!;
      if (stored) await server.objects.create(stored);
      const judgeIt = (object: KubeObject) => (stored ? tryReplace(server, object) : tryCreate(server, object));
      try {
        for (const object of good) {
          const verdict = await judgeIt(object);
          assert.ok(verdict.accepted, `${JSON.stringify(object['spec'])}: ${sayVerdict(verdict)}`);
        }
        for (const object of refused) {
          const verdict = await judgeIt(object);
          const told = `${JSON.stringify(object)}: ${sayVerdict(verdict)}`;
          const causes = causesOf(verdict);
          assert.equal(causes.length, 1, told);
          assert.equal(causes[0]!.field, field, told);
          assert.ok(causes[0]!.message.endsWith(rule.message), told);
        }
      } finally {
        if (stored) await server.objects.delete(stored);
      }
    });
  }
});
