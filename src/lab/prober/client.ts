/** Talks to a lab's prober. */
import net from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '#kit';
import { LabError } from '../errors.ts';
import type { ProberAnswer, ProberRequest, ProberResults } from './protocol.ts';

const retryMs = 20;

type Waiter = { readonly resolve: (result: never) => void; readonly reject: (error: Error) => void };

export class ProberClient {
  readonly #connection: net.Socket;
  readonly #waiting = new Map<number, Waiter>();
  #lastId = 0;

  private constructor(connection: net.Socket) {
    this.#connection = connection;
    createInterface({ input: connection }).on('line', (line) => {
      const answer = JSON.parse(line) as ProberAnswer;
      const waiter = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if ('error' in answer) waiter?.reject(new Error(`prober: ${answer.error}`));
      else waiter?.resolve(answer.result as never);
    });
    connection.on('error', (error) => this.#fail(error));
    connection.on('close', () => this.#fail(new Error('the prober is gone')));
  }

  /** Connects, waiting for a prober that is still starting. @throws LabError NOT_READY */
  static async connect(socketPath: string, deadlineMs = 10_000): Promise<ProberClient> {
    const end = performance.now() + deadlineMs;
    for (;;) {
      try {
        return new ProberClient(await open(socketPath));
      } catch (error) {
        if (performance.now() >= end) {
          throw new LabError(`the lab's prober does not answer on ${socketPath}: ${errorText(error)}`, {
            code: 'NOT_READY',
            what: 'prober',
          });
        }
        await sleep(retryMs);
      }
    }
  }

  call<R extends ProberRequest>(request: R): Promise<ProberResults[R['op']]> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#connection.write(`${JSON.stringify({ id, ...request })}\n`);
    });
  }

  close(): void {
    this.#connection.destroy();
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

function open(socketPath: string): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const connection = net.connect(socketPath);
    connection.once('connect', () => {
      connection.off('error', reject);
      resolve(connection);
    });
    connection.once('error', reject);
  });
}
