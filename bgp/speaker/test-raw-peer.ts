/** A peer made of octets in a {@link Network}: says exactly what a test wants it to, and notes what it hears. */
import { formatIp } from '#kit';
import {
  canonicalAttributes,
  canonicalAttributesBytesMax,
  createFramer,
  createPrefixCursor,
  createUpdateView,
  decodeNotification,
  decodeOpen,
  decodeRouteRefresh,
  decodeUpdate,
  describeAttributes,
  describeNotification,
  encodeKeepalive,
  encodeOpen,
  type Framer,
  ipFamilyOf,
  messageType,
  type Negotiated,
  type Notification,
  negotiate,
  type OpenMessage,
  updateContext,
} from '../wire/index.ts';
import type { AttributeText } from '../wire/types.ts';
import type { Network, Pipe } from './test-network.ts';

export class RawPeer {
  readonly pipe: Pipe;
  readonly open: OpenMessage;
  /** In order: `OPEN`, `+10.0.0.0/8`, `-10.0.0.0/8`, with ` #7` after it where path identifiers are agreed on, `EoR 4`, `BoRR 4`, `EoRR 4`, `refresh 4`, `Cease/...`. */
  readonly heard: string[] = [];
  /** Of the last announcement of each prefix. */
  readonly attributes = new Map<string, AttributeText>();
  readonly nextHops = new Map<string, string>();
  readonly messageBytes: number[] = [];
  notification: Notification | undefined;
  theirOpen: OpenMessage | undefined;
  closed = false;
  readonly #framer: Framer = createFramer();
  readonly #view = createUpdateView();
  #negotiated: Negotiated | undefined;

  constructor(network: Network, from: string, to: string, open: Partial<OpenMessage> & Pick<OpenMessage, 'asn'>) {
    this.open = {
      holdTimeSec: 0,
      routerId: 0x0a00_0000 + Number(from.split('.')[3]),
      families: ['ipv4-unicast', 'ipv6-unicast'],
      asn4: true,
      routeRefresh: true,
      ...open,
    };
    this.pipe = network.connect(from, to);
    this.pipe.start({
      onData: (chunk) =>
        void this.#framer.push(chunk, (type, bytes, start, end) => this.#frame(type, bytes, start, end)),
      onClosed: () => {
        this.closed = true;
      },
      onDrained: () => undefined,
    });
  }

  /** OPEN and KEEPALIVE: a session, once the network has run. */
  establish(): this {
    return this.say(encodeOpen(this.open), encodeKeepalive());
  }
  say(...messages: Uint8Array[]): this {
    for (const message of messages) this.pipe.write(message);
    return this;
  }
  /** What was heard since the last call. */
  take(): string[] {
    return this.heard.splice(0);
  }

  #frame(type: number, bytes: Uint8Array, start: number, end: number): boolean {
    this.messageBytes.push(end - start);
    if (type === messageType.open) this.#open(bytes, start, end);
    else if (type === messageType.update) this.#update(bytes, start, end);
    else if (type === messageType.notification) {
      this.notification = decodeNotification(bytes, start, end);
      this.heard.push(describeNotification(this.notification));
    } else if (type === messageType.routeRefresh) {
      const refresh = decodeRouteRefresh(bytes, start, end);
      if (!refresh.ok) throw new Error(refresh.error.reason);
      const { family, subtype } = refresh.value;
      this.heard.push(`${['refresh', 'BoRR', 'EoRR'][subtype]} ${ipFamilyOf(family!)}`);
    }
    return true;
  }
  #open(bytes: Uint8Array, start: number, end: number): void {
    const open = decodeOpen(bytes, start, end);
    if (!open.ok) throw new Error(open.error.reason);
    this.theirOpen = open.value;
    this.#negotiated = negotiate(this.open, open.value);
    if (this.#negotiated.extendedMessages) this.#framer.allowExtended();
    this.heard.push('OPEN');
  }
  #update(bytes: Uint8Array, start: number, end: number): void {
    const view = this.#view;
    const disposition = decodeUpdate(view, updateContext(this.#negotiated!), bytes, start, end);
    if (disposition !== 'accept') throw new Error(`the speaker sent what is none: ${view.error?.reason}`);
    if (view.endOfRib !== 0) this.heard.push(`EoR ${view.endOfRib}`);
    this.#prefixes('-', 4, view.withdrawnStart, view.withdrawnEnd);
    if (view.mpUnreachFamily !== 0) this.#prefixes('-', view.mpUnreachFamily, view.mpUnreachStart, view.mpUnreachEnd);
    this.#prefixes('+', 4, view.nlriStart, view.nlriEnd);
    if (view.mpReachFamily !== 0) this.#prefixes('+', view.mpReachFamily, view.mpReachNlriStart, view.mpReachNlriEnd);
  }
  #prefixes(sign: '+' | '-', family: 4 | 6, start: number, end: number): void {
    const cursor = createPrefixCursor();
    const view = this.#view;
    const withPathIds = this.#negotiated!.addPath.some((entry) => entry.receive && ipFamilyOf(entry.family) === family);
    cursor.reset(family, view.bytes, start, end, withPathIds);
    while (cursor.next()) {
      const address = new Uint8Array(family === 4 ? 4 : 16);
      const data = new DataView(address.buffer);
      for (let i = 0; i < address.length / 4; i++) data.setInt32(4 * i, cursor.words[i]!);
      const text = `${formatIp(address, 0, address.length)}/${cursor.bits}`;
      const prefix = withPathIds ? `${text} #${cursor.pathId}` : text;
      this.heard.push(sign + prefix);
      if (sign === '-') this.attributes.delete(prefix);
      else {
        const canonical = new Uint8Array(canonicalAttributesBytesMax);
        this.attributes.set(prefix, describeAttributes(canonical, 0, canonicalAttributes(view, canonical, 0)));
        const hop = family === 4 ? view.nextHopStart : view.mpNextHopStart;
        this.nextHops.set(prefix, formatIp(view.bytes, hop, address.length));
      }
    }
  }
}
