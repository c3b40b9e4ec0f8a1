/** One etcd for one API server, in a temporary folder, without the fsync that nobody here needs. */
import path from 'node:path';
import { kubeAsset } from '#setup';
import { Daemon } from './daemon.ts';

export interface EtcdOptions {
  readonly directory: string;
  /** Client and peer port of 127.0.0.1. */
  readonly ports: readonly [number, number];
}

const readyDeadlineMs = 30_000;

export class Etcd {
  readonly url: string;
  readonly daemon: Daemon;

  constructor({ directory, ports: [clientPort, peerPort] }: EtcdOptions) {
    this.url = `http://127.0.0.1:${clientPort}`;
    const peer = `http://127.0.0.1:${peerPort}`;
    this.daemon = new Daemon({
      name: 'etcd',
      command: kubeAsset('etcd') ?? 'etcd',
      args: [
        `--data-dir=${path.join(directory, 'etcd')}`,
        `--listen-client-urls=${this.url}`,
        `--advertise-client-urls=${this.url}`,
        `--listen-peer-urls=${peer}`,
        `--initial-advertise-peer-urls=${peer}`,
        `--initial-cluster=default=${peer}`,
        '--unsafe-no-fsync',
        '--log-level=warn',
      ],
      logFile: path.join(directory, 'etcd.log'),
    });
  }

  async start(): Promise<void> {
    this.daemon.start();
    await this.daemon.untilReady(async () => {
      try {
        return (await fetch(`${this.url}/health`)).ok;
      } catch (error) {
        if (error instanceof TypeError) return false; // fetch's name for "refused"
        throw error;
      }
    }, readyDeadlineMs);
  }

  async #call(operation: string, body: unknown): Promise<Record<string, unknown>> {
    const response = await fetch(`${this.url}/v3/kv/${operation}`, { method: 'POST', body: JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok) throw new Error(`etcd ${operation}: ${response.status} ${text}`);
    return JSON.parse(text) as Record<string, unknown>;
  }

  /** Writes past the API server, e.g. what its validation would refuse. Objects are written as JSON, which it reads for every kind. */
  async put(key: string, value: unknown): Promise<void> {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    await this.#call('put', { key: base64(key), value: base64(text) });
  }

  /**
   * As `put`, at once: watchers see an event for each. etcd takes up to 128 in one transaction. All have one revision, unlike what an
   * API server writes: a watch that ends between two of them and resumes loses the rest.
   */
  async putAll(entries: readonly (readonly [key: string, value: unknown])[]): Promise<void> {
    const success = entries.map(([key, value]) => ({
      requestPut: { key: base64(key), value: base64(JSON.stringify(value)) },
    }));
    const { succeeded } = await this.#call('txn', { success });
    if (succeeded !== true) throw new Error('etcd txn: not done');
  }

  async get(key: string): Promise<string | undefined> {
    const { kvs } = (await this.#call('range', { key: base64(key) })) as { kvs?: readonly { value: string }[] };
    return kvs?.[0] && Buffer.from(kvs[0].value, 'base64').toString();
  }

  async delete(key: string): Promise<void> {
    await this.#call('deleterange', { key: base64(key) });
  }

  async revision(): Promise<number> {
    const { header } = (await this.#call('range', { key: base64('x') })) as { header: { revision: string } };
    return Number(header.revision);
  }

  /** Forgets all history up to now. The API server notices where it must read etcd itself: without its watch cache, or after a restart. */
  async compact(): Promise<void> {
    await this.#call('compaction', { revision: await this.revision(), physical: true });
  }
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
