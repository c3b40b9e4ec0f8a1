/**
 * Every change of the model, on its way into the kernel: the real engine and the real dataplane write to a kernel of two programs that is looked at after
 * every line of `ipset` and every commit of `iptables`. What passes then passes before the change or after it.
 */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type CommandRunner,
  createPolicyDataplane,
  inputText,
  type PolicyDataplane,
  type SetCreation,
  type SetMemberChange,
} from '#felix';
import { type Cidr, cidrContains, FakeClock, familyOf, type IpAddress, type IpFamily, silentLogger } from '#kit';
import type { EndpointId, PolicyUpdate, SetId } from '#model';
import { createPolicyEngine, evaluateConnection, type PolicyState, PolicyStateStore } from '#policy';
import { casesOr, command, crowd, Reference } from '../support/random-history.ts';
import { externals } from '../support/random-policy.ts';

type Rules = Pick<PolicyState, 'policies' | 'endpoints'>;
type Sets = ReadonlyMap<string, ReadonlySet<string>>;

/** As `felix/render/names.ts` gives them. */
const setName = (family: IpFamily, type: string, id: SetId): string =>
  `poplin${family}-${hash('sha256', `${type}|${id}`, 'base64url').slice(0, 20)}`;
const heldName = (family: IpFamily): string => setName(family, 'net', 'dataplane:held');

/** What the two programs were told, and who wants to look at it. */
class Kernel {
  readonly sets = new Map<string, Set<string>>();
  /** As they were made, for `ipset save`. */
  readonly #created = new Map<string, string>();
  readonly committed: Record<IpFamily, boolean> = { 4: true, 6: true };
  look: (() => void) | undefined;

  readonly run: CommandRunner['run'] = async (argv, options) => {
    const lines = (await inputText(options?.stdin)).trim().split('\n');
    if (argv.join(' ') === 'ipset restore') for (const line of lines) this.#ipset(line);
    else if (argv[1]?.endsWith('restore') && lines.some((line) => /^(-[ADI]|:)/.test(line))) {
      this.committed[argv[1].startsWith('ip6') ? 6 : 4] = true;
      this.look?.();
    }
    return { code: 0, stdout: argv.join(' ') === 'ipset save' ? this.#saved() : '', stderr: '' };
  };
  readonly members = {
    change: (changes: readonly (SetMemberChange | SetCreation)[]): undefined => {
      for (const change of changes) {
        if (change.op === 'create') {
          const { set, type, family, room } = change;
          this.#ipset(`create ${set} hash:${type} family ${family === 4 ? 'inet' : 'inet6'} maxelem ${room}`);
        } else this.#ipset(`${change.op} ${change.set} ${change.member}`);
      }
    },
  };

  /** Rules are not read back: to a dataplane that starts, all of them have changed. */
  #saved(): string {
    const of = ([name, members]: [string, Set<string>]) => [
      this.#created.get(name)!.replace(' -exist', ''),
      ...[...members].map((member) => `add ${name} ${member}`),
    ];
    return [...this.sets].flatMap(of).join('\n');
  }

  #ipset(line: string): void {
    const [op, name = '', member = ''] = line.split(' ');
    if (op === 'create') {
      this.sets.set(name, this.sets.get(name) ?? new Set());
      this.#created.set(name, line);
    }
    if (op === 'add') this.sets.get(name)!.add(member);
    else if (op === 'del') this.sets.get(name)!.delete(member);
    else if (op === 'destroy') this.sets.delete(name);
    else assert.equal(op, 'create', line);
    this.look?.();
  }
}

/** A member of `hash:net` as the model writes it: the kernel leaves a host's length out. */
const prefixOf = (member: string): Cidr =>
  (member.includes('/') ? member : `${member}/${member.includes(':') ? 128 : 32}`) as Cidr;

/** `rules` with the members that the kernel holds of their sets. */
function stateOf(rules: Rules, types: ReadonlyMap<SetId, string>, kernel: Sets, family: IpFamily): PolicyState {
  const sets = new Map(
    [...types].map(([id, type]) => {
      const members = kernel.get(setName(family, type, id)) ?? new Set<string>();
      return [id, { type, members: type === 'net' ? new Set([...members].map(prefixOf)) : members }] as const;
    }),
  );
  return { ...rules, sets: sets as unknown as PolicyState['sets'] };
}

interface End {
  readonly address: IpAddress;
  readonly endpoint?: EndpointId;
}

function* pairs(ends: readonly End[], family: IpFamily): Generator<{ readonly from: End; readonly to: End }> {
  const of = ends.filter(({ address }) => familyOf(address) === family);
  for (const from of of) {
    for (const to of of) {
      if (from.address !== to.address && (from.endpoint !== undefined || to.endpoint !== undefined)) yield { from, to };
    }
  }
}

/** Every packet that passes, as text. */
function passing(state: PolicyState, ends: readonly End[], family: IpFamily, held: ReadonlySet<string>): Set<string> {
  const out = new Set<string>();
  const prefixes = [...held].map(prefixOf);
  for (const { from, to } of pairs(ends, family)) {
    if (prefixes.some((prefix) => cidrContains(prefix, from.address) || cidrContains(prefix, to.address))) continue;
    for (const protocol of ['TCP', 'UDP'] as const) {
      for (const port of [53, 80, 8080]) {
        if (evaluateConnection(state, { from, to, protocol, port }).verdict === 'allow')
          out.add(`${JSON.stringify({ from, to })} ${protocol} ${port}`);
      }
    }
  }
  return out;
}

class World {
  readonly kernel = new Kernel();
  engine = createPolicyEngine();
  store = new PolicyStateStore();
  readonly reference = new Reference();
  readonly #clock = new FakeClock();
  /** Every address that an endpoint had. */
  readonly #addresses = new Map<EndpointId, Set<IpAddress>>();
  readonly #interfaces = new Map<EndpointId, string>();
  readonly #types = new Map<SetId, string>();
  #dataplane = this.#newDataplane();
  /** Looks that something was seen in. */
  looks = 0;

  #newDataplane(): PolicyDataplane {
    const tables = {
      use: () => undefined,
      rules: () => [],
      deleteRules: () => undefined,
      deleteTable: () => undefined,
    };
    const { run, members } = this.kernel;
    return createPolicyDataplane({ run, members, tables, log: silentLogger, clock: this.#clock }, { backend: 'nft' });
  }

  async start(): Promise<void> {
    await this.#dataplane.start();
    this.engine.inSync();
    await this.flush();
  }

  /** Another agent in the place of the one before; what was handed in since the last flush came while there was none. */
  async restart(): Promise<void> {
    const before = this.#rules();
    await this.#dataplane.stop();
    this.engine = createPolicyEngine();
    this.store = new PolicyStateStore();
    this.#dataplane = this.#newDataplane();
    this.reference.apply(this.engine, { type: 'repeat' });
    await this.#dataplane.start();
    this.engine.inSync();
    await this.flush(before);
  }

  #rules(): Rules {
    return { policies: new Map(this.store.policies), endpoints: new Map(this.store.endpoints) };
  }

  /** What was handed in comes into force, under the eyes of all. */
  async flush(before = this.#rules()): Promise<void> {
    const updates = this.engine.flush();
    this.store.apply(updates);
    for (const [id, { type }] of this.store.sets) this.#types.set(id, type);
    const oldSets: Sets = new Map([...this.kernel.sets].map(([name, members]) => [name, new Set(members)]));
    this.#wire(updates);
    const ends = this.#ends(before);
    const nothing = new Set<string>();
    const may = { 4: new Set<string>(), 6: new Set<string>() };
    for (const family of [4, 6] as const) {
      const old = passing(stateOf(before, this.#types, oldSets, family), ends, family, nothing);
      may[family] = old.union(passing(this.store, ends, family, nothing));
    }
    // Thrown within the writing of the kernel, it would be taken for a failure of that.
    const opened = new Set<string>();
    this.kernel.committed[4] = this.kernel.committed[6] = false;
    this.kernel.look = () => {
      for (const family of [4, 6] as const) {
        const rules = this.kernel.committed[family] ? this.store : before;
        const held = this.kernel.sets.get(heldName(family)) ?? nothing;
        const state = stateOf(rules, this.#types, this.kernel.sets, family);
        for (const packet of passing(state, ends, family, held).difference(may[family])) opened.add(packet);
        this.looks++;
      }
    };
    this.#dataplane.apply(updates);
    this.#dataplane.setInSync();
    await this.#settle();
    this.kernel.look = undefined;
    assert.deepEqual([...opened], [], 'passed on the way, and neither before nor after');
    this.#checkEnd();
  }

  /** Endpoints that have a program have an interface: the CNI's part. */
  #wire(updates: readonly PolicyUpdate[]): void {
    for (const update of updates) {
      if (update.type === 'endpoint') {
        const addresses = this.reference.local.get(update.id) ?? [];
        const interfaceName = this.#interfaces.get(update.id) ?? `pop${this.#interfaces.size}`;
        this.#interfaces.set(update.id, interfaceName);
        this.#dataplane.setEndpoint({ id: update.id, interfaceName, addresses });
      } else if (update.type === 'endpointRemove') this.#dataplane.removeEndpoint(update.id);
    }
    for (const [id, addresses] of this.reference.local) {
      const known = this.#addresses.get(id) ?? new Set();
      for (const address of addresses) known.add(address);
      this.#addresses.set(id, known);
    }
  }

  /** Of a pod that goes, nothing is asked: its interface is gone. */
  #ends(before: Rules): End[] {
    const local = [...this.#addresses].flatMap(([endpoint, addresses]) =>
      this.store.endpoints.has(endpoint) || !before.endpoints.has(endpoint)
        ? [...addresses].map((address) => ({ address, endpoint }))
        : [],
    );
    const remote = Array.from({ length: 6 }, (_, i) => [`10.0.0.${i + 1}`, `fd00::${i + 1}`]).flat() as IpAddress[];
    return [...local, ...[...remote, ...externals].map((address) => ({ address }))];
  }

  async #settle(): Promise<void> {
    let done = false;
    void this.#dataplane.whenApplied().then(() => {
      done = true;
    });
    for (let i = 0; i < 2_000 && !done; i++) {
      this.#clock.advance(1);
      await Promise.resolve();
    }
    assert.ok(done);
  }

  #checkEnd(): void {
    for (const family of [4, 6] as const) {
      assert.deepEqual([...(this.kernel.sets.get(heldName(family)) ?? [])], [], 'nobody is held any more');
      for (const [id, { type, members, staged }] of this.store.sets) {
        // What only staged policies name is not in the kernel, or on its way out.
        if (type === 'net' || staged) continue;
        const wanted = [...members];
        const there = this.kernel.sets.get(setName(family, type, id)) ?? new Set();
        const ofFamily = wanted.filter((member) => familyOf(member.split(',')[0] as IpAddress) === family);
        assert.deepEqual([...there].sort(), ofFamily.sort(), id);
      }
    }
  }
}

test('at no moment of a change a packet passes that neither the old nor the new state lets pass', async (t) => {
  let looks = 0;
  await fc.assert(
    fc.asyncProperty(
      crowd,
      fc.array(fc.array(command, { minLength: 1, maxLength: 6, size: 'max' }), { minLength: 1, maxLength: 3 }),
      fc.nat({ max: 3 }),
      async (start, changes, restartAt) => {
        const world = new World();
        for (const step of start) world.reference.apply(world.engine, step);
        await world.start();
        for (const [i, change] of changes.entries()) {
          for (const step of change) world.reference.apply(world.engine, step);
          await (i === restartAt ? world.restart() : world.flush());
        }
        looks += world.looks;
      },
    ),
    { numRuns: casesOr(60) },
  );
  t.diagnostic(`${looks} looks`);
  assert.ok(looks > 100);
});
