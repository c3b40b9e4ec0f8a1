/** The world of the tests of attachments: agents over a kernel and a disk that outlive them, with calls that can be cut off at any step. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { createIpam } from '#ipam';
import { type Cidr, FakeClock, type IpAddress, silentLogger } from '#kit';
import type { PodObject } from '#model';
import { type AddAnswer, type Attachments, createAttachments } from './attachments.ts';
import { CniError } from './errors.ts';
import type { Descriptor } from './ports.ts';
import { parseRequest } from './request.ts';
import { type AttachmentStore, openAttachmentStore } from './store.ts';
import type { PodDescriptors } from './wiring.ts';

const nobody: Descriptor = { number: 0, closed: true, take: () => 0, close: () => undefined };
const descriptors: PodDescriptors = { netns: nobody, socket: nobody };
export const podCIDRs = ['10.1.0.0/29', 'fd00::/125'] as Cidr[];
export const REST_MS = 1000;

/** What outlives the agent: kernel and disk; and what can stop it: after `stepsLeft` steps every further one hangs for ever. */
export class World {
  readonly links = new Set<string>();
  readonly directory = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-attachments-'));
  readonly events: string[] = [];
  readonly clock = new FakeClock();
  stepsLeft = Number.POSITIVE_INFINITY;
  fail: string | undefined;
  failToo: string | undefined;
  /** Settles when no write of any agent is under way. */
  disk: Promise<unknown> = Promise.resolve();
  #stores: AttachmentStore[] = [];

  /** Hangs from the moment of the crash on. */
  async step(name: string): Promise<void> {
    if (this.stepsLeft-- <= 0) await new Promise(() => undefined);
    this.events.push(name);
    if (this.fail === name || this.failToo === name) throw new Error(`${name} failed`);
  }

  async boot() {
    const real = await openAttachmentStore(this.directory, silentLogger);
    this.#stores.push(real);
    const around = <A extends readonly unknown[], T>(name: string, work: (...args: A) => Promise<T>) => {
      return async (...args: A): Promise<T> => {
        await this.step(`before ${name}`);
        const running = work(...args);
        this.disk = Promise.allSettled([this.disk, running]);
        const result = await running;
        await this.step(`after ${name}`);
        return result;
      };
    };
    const store: AttachmentStore = {
      load: real.load,
      begin: around('begin', real.begin),
      complete: around('complete', real.complete),
      free: around('free', real.free),
      endRest: real.endRest,
      close: real.close,
    };
    const attached = new Map<string, readonly IpAddress[]>();
    const ipam = createIpam({ clock: this.clock }, { restMs: REST_MS });
    ipam.setPools(podCIDRs);
    const attachments = createAttachments(
      {
        pods: {
          wait: async () => {
            await this.step('pod');
            return {} as PodObject;
          },
        },
        dataplane: {
          attach: async (endpoint) => {
            await this.step('attach');
            attached.set(endpoint.interfaceName, endpoint.addresses);
          },
          detach: async (endpoint) => {
            assert.ok(!this.links.has(endpoint.interfaceName), 'policy goes after the interface');
            attached.delete(endpoint.interfaceName);
            await this.step('detach');
          },
          flushConntrack: () => this.step('conntrack'),
        },
        ipam,
        store,
        wiring: {
          create: async (pod) => {
            assert.ok(attached.has(pod.interfaceName), 'the interface comes after its policy');
            assert.ok(
              fs
                .readdirSync(this.directory)
                .some((name) => name.startsWith(pod.interfaceName) && name.endsWith('.intent')),
            );
            if (this.stepsLeft-- <= 0) return;
            this.links.add(pod.interfaceName);
            this.events.push('create');
            if (this.fail === 'create') throw new CniError('WIRING_FAILED', 'no');
          },
          remove: async (name) => {
            await this.step('remove');
            return this.links.delete(name);
          },
          exists: (name) => this.links.has(name),
          list: () => [...this.links],
          problems: () => [],
          close: () => undefined,
        },
        clock: this.clock,
        log: silentLogger,
      },
      { podWaitMs: 20_000, policyWaitMs: 20_000, restMs: REST_MS },
    );
    await attachments.recover();
    return { attachments, ipam, attached };
  }
  files(): string[] {
    return fs.readdirSync(this.directory).filter((name) => !name.endsWith('.rest'));
  }
  async close(): Promise<void> {
    for (const store of this.#stores) await store.close();
    fs.rmSync(this.directory, { recursive: true });
  }
}

export function makeWorld(t: TestContext): World {
  const world = new World();
  t.after(() => world.close());
  return world;
}

function addRequest(id: string) {
  const environment = {
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: id,
    CNI_IFNAME: 'eth0',
    CNI_NETNS: `/netns/${id}`,
    CNI_ARGS: `K8S_POD_NAMESPACE=default;K8S_POD_NAME=${id}`,
  };
  const request = parseRequest(environment, JSON.stringify({ cniVersion: '1.1.0', name: 'poplin', type: 'poplin' }));
  assert.ok(request.command === 'ADD');
  return request;
}
export function add(attachments: Attachments, id: string, caller = new AbortController().signal): Promise<AddAnswer> {
  return attachments.add(addRequest(id), descriptors, caller);
}
export const del = (attachments: Attachments, id: string) => attachments.del({ containerId: id, ifName: 'eth0' });

/** Resolves when the world has stopped the agent, or with the call. */
export async function crashed<T>(world: World, call: Promise<T>): Promise<T | 'crashed'> {
  let over = false;
  void call.then(() => {
    over = true;
  });
  while (!over) {
    if (world.stepsLeft < 0) {
      // A killed process writes no more: what runs beside the step that hangs comes to its end first.
      await world.disk;
      return 'crashed';
    }
    await new Promise(setImmediate);
  }
  return call;
}
