/**
 * All BFD sessions of a system over a clock that is handed in: which session a packet is for, when each sends, when each falls.
 *
 * Hot path: a packet that says what the last one said costs a look-up by discriminator and one store; a periodic transmission a heap operation
 * and 24 octets. Neither allocates. The detection timer is not moved for each packet: when it would be the next, the time of the last packet is looked
 * at. Whoever calls hands in the packets that wait between `sendDue` and `judgeDue`: a system that was held up sends first, as peers wait for
 * that, and does not take its own delay for theirs.
 */
import {
  type ControlPacket,
  controlPacketBytes,
  decodeControlPacket,
  emptyControlPacket,
  encodeControlPacket,
} from './packet.ts';
import {
  type BfdEvent,
  type BfdSession,
  detectionTimeUs,
  fillPacket,
  initialSession,
  isRepetition,
  type PacketKind,
  receiveIntervalUs,
  stepBfd,
  transmitIntervalUs,
} from './session.ts';
import { TimerHeap } from './timer-heap.ts';
import {
  type BfdDropReason,
  type BfdSessionConfig,
  type BfdSessionStatus,
  bfdDropReasons,
  bfdStates,
  stateCode,
} from './types.ts';

/** Sessions that may be configured; the rest is left out and reported. */
export const bfdSessionsMax = 4096;
/** How long a session that is no longer wanted says AdminDown: a detection time (RFC 5882 8), within these. */
const farewellMsMin = 2_000;
const farewellMsMax = 10_000;
/** TTL or hop limit of a packet from our own link (RFC 5881 5). */
const hopsOnLink = 255;

/** Where a packet came from. The texts are asked for only when no discriminator tells the session. */
export interface PacketPath {
  /** It came to the port of RFC 5883. */
  readonly multihop: boolean;
  /** TTL or hop limit as received; -1: not told. */
  readonly hops: number;
  readonly source: string;
  readonly destination: string;
  readonly interface: string;
}

export interface BfdEngineHooks {
  /** A session begins: it will send from now on. */
  open(slot: number, config: BfdSessionConfig): void;
  close(slot: number): void;
  /** `packet` is only valid during the call. */
  send(slot: number, packet: Uint8Array): void;
  /** A periodic packet goes out `lateMs` after its time. */
  onPeriodic?(lateMs: number): void;
  /** A packet goes out `gapMs` after another that said Up: for so long the peer heard nothing. */
  onGap?(gapMs: number): void;
  /** State, or values in force, of a session changed. */
  onChange(status: BfdSessionStatus): void;
  /** 0 <= x < 1. */
  random(): number;
}

interface Slot {
  config: BfdSessionConfig;
  session: BfdSession;
  lastSentMs: number;
  lastSentUp: boolean;
  lastReceivedMs: number;
  flaps: number;
  /** No longer wanted: says AdminDown until then. */
  farewellEndMs: number | undefined;
}

/** Beside that for sending, each slot has two. */
const timersPerSlot = 2;
const detectionTimer = 0;
const farewellTimer = 1;

export class BfdEngine {
  readonly #hooks: BfdEngineHooks;
  readonly #slots: (Slot | undefined)[] = [];
  readonly #freeSlots: number[] = [];
  readonly #byKey = new Map<string, number>();
  readonly #byDiscriminator = new Map<number, number>();
  /** Port and address -> slots, for packets that name no discriminator of ours. */
  readonly #byAddress = new Map<string, number[]>();
  /** When each slot sends. */
  readonly #sendTimers = new TimerHeap();
  readonly #timers = new TimerHeap();
  readonly #received: ControlPacket = emptyControlPacket();
  readonly #sent: ControlPacket = emptyControlPacket();
  readonly #packet = new Uint8Array(controlPacketBytes);
  /** Packets dropped, by reason. */
  readonly drops: Record<BfdDropReason, number> = Object.fromEntries(
    bfdDropReasons.map((reason) => [reason, 0]),
  ) as Record<BfdDropReason, number>;

  constructor(hooks: BfdEngineHooks) {
    this.#hooks = hooks;
  }

  /**
   * When something is to be done; Infinity: nothing. A detection timer that packets have put off since it was set is moved first, if it would be
   * the next: nobody is to wake up for it.
   */
  nextDueMs(): number {
    const sendMs = this.#sendTimers.nextDueMs;
    const timers = this.#timers;
    while (timers.nextDueMs < sendMs && timers.next % timersPerSlot === detectionTimer) {
      if (!this.#putOff(timers.next)) break;
    }
    return Math.min(sendMs, timers.nextDueMs);
  }
  /** Whether `judgeDue` has anything to judge. */
  isJudgeDue(nowMs: number): boolean {
    return this.#timers.nextDueMs <= nowMs;
  }
  /** Those that say farewell included. */
  get size(): number {
    return this.#byKey.size;
  }

  /**
   * Brings sessions in line: new ones begin, changed intervals are agreed upon while the session stays up (6.8.3), and those that are gone
   * say AdminDown for a detection time.
   *
   * @returns how many were left out for want of room.
   */
  configure(configs: readonly BfdSessionConfig[], nowMs: number): number {
    const wanted = new Map(configs.slice(0, bfdSessionsMax).map((config) => [config.key, config]));
    for (const [key, slot] of this.#byKey) if (!wanted.has(key)) this.#sayFarewell(slot, nowMs);
    for (const config of wanted.values()) {
      const slot = this.#byKey.get(config.key);
      if (slot === undefined) this.#add(config, nowMs);
      else this.#change(slot, config, nowMs);
    }
    return Math.max(0, configs.length - bfdSessionsMax);
  }

  /** Every session says AdminDown, once: the system stops. */
  disableAll(nowMs: number): void {
    for (const slot of this.#byKey.values()) this.#sayFarewell(slot, nowMs);
  }

  statuses(): BfdSessionStatus[] {
    return [...this.#byKey.values()].map((slot) => status(this.#slots[slot]!));
  }

  /** A UDP payload `bytes[0, length)`, whoever sent it (RFC 5880 6.8.6). */
  receive(bytes: Uint8Array, length: number, path: PacketPath, nowMs: number): void {
    const packet = this.#received;
    if (!path.multihop && path.hops !== hopsOnLink) {
      this.drops.hops++;
      return;
    }
    const fault = decodeControlPacket(bytes, length, packet);
    if (fault) {
      this.drops[fault]++;
      return;
    }
    const id =
      packet.yourDiscriminator === 0 ? this.#findByAddress(path) : this.#byDiscriminator.get(packet.yourDiscriminator);
    const slot = id === undefined ? undefined : this.#slots[id];
    // One that came to the other port did not pass this session's check of hops.
    if (id === undefined || !slot || slot.config.multihop !== path.multihop) {
      this.drops.unknownSession++;
      return;
    }
    if (path.multihop && path.hops < hopsOnLink + 1 - slot.config.maxHops) {
      this.drops.hops++;
      return;
    }
    slot.lastReceivedMs = nowMs;
    if (isRepetition(slot.session, packet)) return;
    this.#step(id, slot, { type: 'packet', packet }, nowMs);
  }

  /** Both halves, where no packets wait. */
  runDue(nowMs: number): void {
    this.sendDue(nowMs);
    this.judgeDue(nowMs);
  }

  // In both a timer that fired moves forward or is gone, so that the number of rounds is bounded by what is due now.

  /** Sends what is due. */
  sendDue(nowMs: number): void {
    while (this.#sendTimers.nextDueMs <= nowMs) {
      const id = this.#sendTimers.next;
      this.#sendPeriodic(id, this.#slots[id]!, nowMs);
    }
  }

  /** Lets fall what was silent for too long: every packet that waits has been handed in. */
  judgeDue(nowMs: number): void {
    while (this.#timers.nextDueMs <= nowMs) {
      const timer = this.#timers.next;
      const id = Math.floor(timer / timersPerSlot);
      const slot = this.#slots[id]!;
      if (timer % timersPerSlot !== detectionTimer) this.#remove(id, slot);
      else if (!this.#putOff(timer)) this.#step(id, slot, { type: 'detectionExpired' }, nowMs);
    }
  }

  #add(config: BfdSessionConfig, nowMs: number): void {
    const id = this.#freeSlots.pop() ?? this.#slots.length;
    const slot: Slot = {
      config,
      session: initialSession(config, this.#newDiscriminator()),
      lastSentMs: Number.NEGATIVE_INFINITY,
      lastSentUp: false,
      lastReceivedMs: nowMs,
      flaps: 0,
      farewellEndMs: undefined,
    };
    this.#slots[id] = slot;
    this.#byKey.set(config.key, id);
    this.#byDiscriminator.set(slot.session.localDiscriminator, id);
    this.#list(id, config);
    this.#hooks.open(id, config);
    this.#sendTimers.set(id, nowMs);
    this.#hooks.onChange(status(slot));
  }

  #change(id: number, config: BfdSessionConfig, nowMs: number): void {
    const slot = this.#slots[id]!;
    slot.config = config;
    if (slot.farewellEndMs !== undefined) {
      slot.farewellEndMs = undefined;
      this.#timers.remove(timersPerSlot * id + farewellTimer);
      this.#list(id, config);
      this.#step(id, slot, { type: 'enable' }, nowMs);
    }
    const { minTxUs, minRxUs, multiplier } = config;
    const before = slot.session.parameters;
    if (before.minTxUs === minTxUs && before.minRxUs === minRxUs && before.multiplier === multiplier) return;
    this.#step(id, slot, { type: 'configure', parameters: { minTxUs, minRxUs, multiplier } }, nowMs);
  }

  #sayFarewell(id: number, nowMs: number): void {
    const slot = this.#slots[id]!;
    if (slot.farewellEndMs !== undefined) return;
    const detectionMs = (slot.config.multiplier * transmitIntervalUs(slot.session)) / 1000;
    slot.farewellEndMs = nowMs + Math.min(farewellMsMax, Math.max(farewellMsMin, detectionMs));
    this.#unlist(id, slot.config);
    this.#timers.set(timersPerSlot * id + farewellTimer, slot.farewellEndMs);
    this.#step(id, slot, { type: 'disable' }, nowMs);
  }

  #remove(id: number, slot: Slot): void {
    this.#sendTimers.remove(id);
    for (let timer = 0; timer < timersPerSlot; timer++) this.#timers.remove(timersPerSlot * id + timer);
    this.#byKey.delete(slot.config.key);
    this.#byDiscriminator.delete(slot.session.localDiscriminator);
    this.#slots[id] = undefined;
    this.#freeSlots.push(id);
    this.#hooks.close(id);
  }

  #list(id: number, config: BfdSessionConfig): void {
    const key = addressKey(config.multihop, config.peerAddress);
    const others = this.#byAddress.get(key);
    if (others) others.push(id);
    else this.#byAddress.set(key, [id]);
  }
  #unlist(id: number, config: BfdSessionConfig): void {
    const key = addressKey(config.multihop, config.peerAddress);
    const left = (this.#byAddress.get(key) ?? []).filter((other) => other !== id);
    if (left.length > 0) this.#byAddress.set(key, left);
    else this.#byAddress.delete(key);
  }

  /** First packets: by source and interface (RFC 5881 3), multihop by source and destination (RFC 5883 3). */
  #findByAddress(path: PacketPath): number | undefined {
    const candidates = this.#byAddress.get(addressKey(path.multihop, path.source));
    return candidates?.find((id) => {
      const { config } = this.#slots[id]!;
      if (config.localAddress !== undefined && config.localAddress !== path.destination) return false;
      return config.interface === undefined || config.interface === path.interface;
    });
  }

  #newDiscriminator(): number {
    let value = Math.floor(this.#hooks.random() * 0x1_0000_0000) >>> 0;
    while (value === 0 || this.#byDiscriminator.has(value)) value = (value + 1) >>> 0;
    return value;
  }

  #step(id: number, slot: Slot, event: BfdEvent, nowMs: number): void {
    const before = slot.session;
    const { session, send } = stepBfd(before, event);
    slot.session = session;
    if (before.state === stateCode.up && session.state !== stateCode.up) slot.flaps++;
    if (send !== 'nothing') this.#send(id, slot, send, nowMs);
    this.#scheduleSending(id, slot, transmitIntervalUs(before), nowMs);
    const detectionMs = detectionTimeUs(session) / 1000;
    const timer = timersPerSlot * id + detectionTimer;
    if (detectionMs === 0) this.#timers.remove(timer);
    else this.#timers.set(timer, slot.lastReceivedMs + detectionMs);
    if (isNews(before, session)) this.#hooks.onChange(status(slot));
  }

  #send(id: number, slot: Slot, kind: PacketKind, nowMs: number): void {
    fillPacket(slot.session, kind, this.#sent);
    encodeControlPacket(this.#sent, this.#packet);
    if (slot.lastSentUp) this.#hooks.onGap?.(nowMs - slot.lastSentMs);
    slot.lastSentMs = nowMs;
    slot.lastSentUp = slot.session.state === stateCode.up;
    this.#hooks.send(id, this.#packet);
  }

  #sendPeriodic(id: number, slot: Slot, nowMs: number): void {
    this.#hooks.onPeriodic?.(nowMs - this.#sendTimers.nextDueMs);
    this.#send(id, slot, 'periodic', nowMs);
    if (slot.session.poll === 'due') slot.session = stepBfd(slot.session, { type: 'pollSent' }).session;
    this.#sendTimers.set(id, this.#nextSendMs(slot.session, nowMs));
  }

  /** 6.8.7: a changed interval holds from the last packet on. */
  #scheduleSending(id: number, slot: Slot, intervalBeforeUs: number, nowMs: number): void {
    const intervalUs = transmitIntervalUs(slot.session);
    if (intervalUs === 0) this.#sendTimers.remove(id);
    else if (intervalUs !== intervalBeforeUs || this.#sendTimers.dueMs(id) === Number.POSITIVE_INFINITY) {
      this.#sendTimers.set(id, Math.max(nowMs, this.#nextSendMs(slot.session, slot.lastSentMs)));
    }
  }

  /**
   * 6.8.7: 75 to 100 % of the interval after the last, at most 90 % where one packet decides. On whole milliseconds: what falls into the same
   * one is sent in one turn, which halves the cost of hundreds of sessions.
   */
  #nextSendMs(session: BfdSession, lastMs: number): number {
    const intervalMs = transmitIntervalUs(session) / 1000;
    const span = session.parameters.multiplier === 1 ? 0.15 : 0.25;
    const atMs = lastMs + intervalMs * (0.75 + span * this.#hooks.random());
    if (span * intervalMs < 1) return atMs;
    const wholeMs = Math.floor(atMs);
    return wholeMs < lastMs + 0.75 * intervalMs ? wholeMs + 1 : wholeMs;
  }

  /** Moves a detection timer to where packets have put it off since it was set. @returns false: they have not. */
  #putOff(timer: number): boolean {
    const { lastReceivedMs, session } = this.#slots[timer / timersPerSlot]!;
    const dueMs = lastReceivedMs + detectionTimeUs(session) / 1000;
    if (dueMs <= this.#timers.dueMs(timer)) return false;
    this.#timers.set(timer, dueMs);
    return true;
  }
}

function addressKey(multihop: boolean, address: string): string {
  return `${multihop ? 'multihop' : 'link'} ${address}`;
}

function isNews(before: BfdSession, after: BfdSession): boolean {
  return (
    before.state !== after.state ||
    before.remoteState !== after.remoteState ||
    before.remoteDiagnostic !== after.remoteDiagnostic ||
    before.remoteControlPlaneIndependent !== after.remoteControlPlaneIndependent ||
    transmitIntervalUs(before) !== transmitIntervalUs(after) ||
    receiveIntervalUs(before) !== receiveIntervalUs(after) ||
    detectionTimeUs(before) !== detectionTimeUs(after)
  );
}

function status({ config, session, flaps }: Slot): BfdSessionStatus {
  return {
    key: config.key,
    state: bfdStates[session.state]!,
    remoteState: bfdStates[session.remoteState]!,
    diagnostic: session.diagnostic,
    remoteDiagnostic: session.remoteDiagnostic,
    remoteControlPlaneIndependent: session.remoteControlPlaneIndependent,
    txIntervalUs: transmitIntervalUs(session),
    rxIntervalUs: receiveIntervalUs(session),
    detectionTimeUs: detectionTimeUs(session),
    remoteMultiplier: session.remoteMultiplier,
    flaps,
  };
}
