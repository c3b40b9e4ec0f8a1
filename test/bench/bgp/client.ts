/**
 * The peers of the speaker under test: one process, driven by JSON lines on stdin, that holds what it sends ready, and counts what
 * comes back without keeping it. Sessions are as little as they can be: OPEN, KEEPALIVE, then messages.
 */
import net from 'node:net';
import readline from 'node:readline';
import { wire } from '#bgp';
import { makeTable, type Table, type TableSpec } from './table.ts';

export interface SessionSpec {
  readonly id: string;
  readonly address: string;
  readonly asn: number;
  readonly family: 4 | 6;
  readonly holdTimeSec?: number;
}

/** What a session has received: prefixes announced (of paths whose second AS is `from`, when given) or withdrawn, at least. */
export interface Wanted {
  readonly id: string;
  readonly announced?: number;
  readonly from?: number;
  readonly withdrawn?: number;
}

/** A command that has not been done by then is answered with {@link Over}: the peers are of no use any more. */
export type Limited = Command & { readonly limitSec: number };
export interface Over {
  readonly overSec: number;
  /** What was waited for. */
  readonly lacking: readonly string[];
}

export type Command =
  /** Answer when all are up: seconds from the first attempt. */
  | {
      readonly op: 'open';
      readonly to: string;
      readonly sessions: readonly SessionSpec[];
      readonly announceOwn?: boolean;
    }
  | { readonly op: 'prepare'; readonly id: string; readonly table: TableSpec }
  /** Sends from all `ids` at once and answers with the seconds until everything wanted has come. Counts begin anew. */
  | {
      readonly op: 'send';
      readonly ids: readonly string[];
      readonly what: 'announce' | 'withdraw';
      readonly wanted: readonly Wanted[];
    }
  /** Cuts a session, without a NOTIFICATION. */
  | { readonly op: 'cut'; readonly id: string; readonly wanted: readonly Wanted[] }
  | { readonly op: 'await'; readonly wanted: readonly Wanted[] };

const readBytes = 262_144;
/** Of all sessions: what is received leaves nothing behind to collect, which would count as the speaker's time. */
const received = new Uint8Array(readBytes);
const redialMs = 100;
/** After this an attempt is given up: a listener with a short backlog (OpenBGPD's is 5) may have forgotten it. */
const attemptMs = 5_000;

class Session {
  readonly spec: SessionSpec;
  socket: net.Socket;
  readonly #to: string;
  readonly #onUp: () => void;
  up = false;
  #cut = false;
  /** Of the last attempt. */
  problem = '';
  announced = 0;
  withdrawn = 0;
  readonly announcedFrom = new Map<number, number>();
  table: Table | undefined;
  onChange: () => void = () => undefined;

  constructor(spec: SessionSpec, to: string, onUp: () => void) {
    this.spec = spec;
    this.#to = to;
    this.#onUp = onUp;
    this.socket = this.#connect();
  }

  #connect(): net.Socket {
    const { spec } = this;
    const framer = wire.createFramer();
    const socket = net.connect({
      host: this.#to,
      port: 179,
      localAddress: spec.address,
      onread: {
        buffer: received,
        callback: (length) => {
          this.#read(framer, length);
          return true;
        },
      },
    });
    socket.setNoDelay(true);
    setTimeout(() => this.up || socket.destroy(), attemptMs);
    socket.on('connect', () => socket.write(wire.encodeOpen(this.#open())));
    socket.on('error', (error) => (this.problem = error.message));
    socket.on('end', () => (this.problem ||= 'closed by the speaker'));
    socket.on('close', () => {
      if (this.#cut) return;
      // Who is called by a thousand at once, or has only begun, may refuse some: they call again.
      if (this.up) fail(`${spec.id}: ${this.problem}`);
      else setTimeout(() => (this.socket = this.#connect()), redialMs);
    });
    return socket;
  }

  #read(framer: wire.Framer, length: number): void {
    const error = framer.push(received.subarray(0, length), this.#onFrame);
    if (error) fail(`${this.spec.id}: ${error.reason}`);
    this.onChange();
  }
  readonly #onFrame: wire.FrameHandler = (type, bytes, start, end) => {
    this.#frame(type, bytes, start, end);
    return true;
  };

  #frame(type: number, bytes: Uint8Array, start: number, end: number): void {
    if (type === wire.messageType.update) this.#update(bytes, start, end);
    else if (type === wire.messageType.open) this.socket.write(wire.encodeKeepalive());
    else if (type === wire.messageType.notification) {
      this.problem = wire.describeNotification(wire.decodeNotification(bytes, start, end));
    } else if (type === wire.messageType.keepalive) {
      // The first one, too: by that a speaker that has just started knows that this peer, which knows no graceful restart, has nothing to restore.
      this.socket.write(wire.encodeKeepalive());
      if (this.up) return;
      this.up = true;
      this.#onUp();
    }
  }

  #open(): wire.OpenMessage {
    const { address, asn, family, holdTimeSec = 90 } = this.spec;
    // Any router id that no other session has.
    const id = [...address].reduce((hash, char) => (Math.imul(hash, 31) + char.charCodeAt(0)) >>> 0, 7) || 1;
    const families = [family === 4 ? ('ipv4-unicast' as const) : ('ipv6-unicast' as const)];
    return { asn, holdTimeSec, routerId: id, families, asn4: true, routeRefresh: true };
  }

  #update(bytes: Uint8Array, start: number, end: number): void {
    const word = (at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;
    const withdrawnBytes = word(start + 19);
    const attributesAt = start + 21 + withdrawnBytes;
    const nlriAt = attributesAt + 2 + word(attributesAt);
    this.withdrawn += this.#prefixes(bytes, start + 21, attributesAt);
    let count = this.#prefixes(bytes, nlriAt, end);
    let second = 0;
    for (let at = attributesAt + 2; at < nlriAt; ) {
      const long = (bytes[at]! & 0x10) !== 0;
      const value = at + (long ? 4 : 3);
      const next = value + (long ? word(at + 2) : bytes[at + 2]!);
      const type = bytes[at + 1]!;
      if (type === 2 && next - value >= 10) second = word(value + 6) * 65_536 + word(value + 8);
      else if (type === 14) count += this.#prefixes(bytes, value + 5 + bytes[value + 3]!, next);
      else if (type === 15) this.withdrawn += this.#prefixes(bytes, value + 3, next);
      at = next;
    }
    if (count === 0) return;
    this.announced += count;
    this.announcedFrom.set(second, (this.announcedFrom.get(second) ?? 0) + count);
  }

  #prefixes(bytes: Uint8Array, start: number, end: number): number {
    let count = 0;
    for (let at = start; at < end; at += 1 + ((bytes[at]! + 7) >> 3)) count++;
    return count;
  }

  cut(): void {
    this.#cut = true;
    this.socket.destroy();
  }
  reset(): void {
    this.announced = 0;
    this.withdrawn = 0;
    this.announcedFrom.clear();
  }
  has({ announced, from, withdrawn }: Wanted): boolean {
    const count = from === undefined ? this.announced : (this.announcedFrom.get(from) ?? 0);
    return count >= (announced ?? 0) && this.withdrawn >= (withdrawn ?? 0);
  }
}

const sessions = new Map<string, Session>();
const session = (id: string): Session => sessions.get(id) ?? fail(`no session ${id}`);

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

/** Names what the command in hand still waits for. */
let lacking: () => readonly string[] = () => [];

/** Resolves when all of it has come. */
function arrival(wanted: readonly Wanted[]): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const open = new Set(wanted);
  lacking = () =>
    [...open].map((entry) => {
      const { announced, withdrawn, announcedFrom } = session(entry.id);
      const fromIt = entry.from === undefined ? '' : ` (${announcedFrom.get(entry.from) ?? 0} from it)`;
      return `${JSON.stringify(entry)}: has ${announced}${fromIt}, -${withdrawn}`;
    });
  const look = (): void => {
    for (const entry of open) if (session(entry.id).has(entry)) open.delete(entry);
    if (open.size > 0) return;
    for (const each of sessions.values()) each.onChange = () => undefined;
    resolve();
  };
  for (const { id } of wanted) session(id).onChange = look;
  look();
  return promise;
}

function write(socket: net.Socket, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; at += readBytes) socket.write(bytes.subarray(at, at + readBytes));
}

async function open(command: Extract<Command, { op: 'open' }>): Promise<object> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let left = command.sessions.length;
  const started = performance.now();
  for (const [index, spec] of command.sessions.entries()) {
    const own = new Session(spec, command.to, () => {
      if (command.announceOwn) own.socket.write(ownPrefix(spec, index));
      if (--left === 0) resolve();
    });
    sessions.set(spec.id, own);
  }
  lacking = () =>
    [...sessions.values()]
      .filter(({ up }) => !up)
      .map(({ spec, problem }) => `session ${spec.id} (${problem || 'no answer'})`);
  await promise;
  return { seconds: (performance.now() - started) / 1000 };
}

/** As a node that announces its pod CIDR: 100.64.0.0/10 cut into /24. */
function ownPrefix(spec: SessionSpec, index: number): Uint8Array {
  const address = 0x64400000 + index * 256;
  return oneUpdate(spec.asn, spec.address.split('.').map(Number), address);
}

function oneUpdate(asn: number, nextHop: readonly number[], address: number): Uint8Array {
  let out = new Uint8Array(0);
  const packer = wire.createUpdatePacker((chunk) => {
    out = chunk.slice();
  });
  const attributes = wire.createExportedAttributes();
  const bytes = [0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, asn >>> 24, (asn >>> 16) & 255, (asn >>> 8) & 255, asn & 255];
  attributes.bytes.set(bytes);
  attributes.split = attributes.length = bytes.length;
  packer.startAnnounce(4, attributes, Uint8Array.from(nextHop));
  packer.add4(address, 24);
  packer.flush();
  return out;
}

async function send(command: Extract<Command, { op: 'send' }>): Promise<object> {
  for (const each of sessions.values()) each.reset();
  const started = performance.now();
  const arrived = arrival(command.wanted);
  for (const id of command.ids) {
    const { table, socket } = session(id);
    write(socket, (table ?? fail(`${id} has no table`))[command.what]);
  }
  await arrived;
  return { seconds: (performance.now() - started) / 1000 };
}

async function run(command: Command): Promise<object> {
  switch (command.op) {
    case 'open':
      return open(command);
    case 'prepare':
      session(command.id).table = makeTable(command.table);
      return {};
    case 'send':
      return send(command);
    case 'cut': {
      for (const each of sessions.values()) each.reset();
      const started = performance.now();
      const arrived = arrival(command.wanted);
      session(command.id).cut();
      sessions.delete(command.id);
      await arrived;
      return { seconds: (performance.now() - started) / 1000 };
    }
    case 'await': {
      const started = performance.now();
      await arrival(command.wanted);
      return { seconds: (performance.now() - started) / 1000 };
    }
  }
}

/** What a list of reasons is cut to. */
const lackingMax = 5;

async function within({ limitSec, ...command }: Limited): Promise<object> {
  const { promise, resolve } = Promise.withResolvers<Over>();
  const over = (): void => resolve({ overSec: limitSec, lacking: lacking().slice(0, lackingMax) });
  const timer = setTimeout(over, limitSec * 1000);
  const answer = await Promise.race([run(command), promise]);
  clearTimeout(timer);
  return answer;
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await within(JSON.parse(line) as Limited))}\n`);
}
process.exit(0);
