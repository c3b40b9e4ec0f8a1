/** NOTIFICATION: RFC 4271 4.5 and 6, RFC 4486, 6608, 7313, 8538, 9003, 9384, 9687. */
import { familyOfAfiSafi } from './capabilities.ts';
import { ceaseSubcode, errorCode } from './errors.ts';
import { encodeMessage } from './message.ts';
import { escapeText, utf8AtMost } from './people-text.ts';
import { headerBytes, messageBytesMax, messageType, type Notification } from './types.ts';

/** Longest shutdown communication in octets, RFC 9003 2. */
const shutdownTextBytesMax = 255;

const names: Readonly<Record<number, readonly [name: string, subcodes: Readonly<Record<number, string>>]>> = {
  1: ['Message Header Error', { 1: 'Connection Not Synchronized', 2: 'Bad Message Length', 3: 'Bad Message Type' }],
  2: [
    'OPEN Message Error',
    {
      1: 'Unsupported Version Number',
      2: 'Bad Peer AS',
      3: 'Bad BGP Identifier',
      4: 'Unsupported Optional Parameter',
      5: 'Authentication Failure',
      6: 'Unacceptable Hold Time',
      7: 'Unsupported Capability',
      11: 'Role Mismatch',
    },
  ],
  3: [
    'UPDATE Message Error',
    {
      1: 'Malformed Attribute List',
      2: 'Unrecognized Well-known Attribute',
      3: 'Missing Well-known Attribute',
      4: 'Attribute Flags Error',
      5: 'Attribute Length Error',
      6: 'Invalid ORIGIN Attribute',
      7: 'AS Routing Loop',
      8: 'Invalid NEXT_HOP Attribute',
      9: 'Optional Attribute Error',
      10: 'Invalid Network Field',
      11: 'Malformed AS_PATH',
    },
  ],
  4: ['Hold Timer Expired', {}],
  5: [
    'Finite State Machine Error',
    {
      1: 'Unexpected Message in OpenSent',
      2: 'Unexpected Message in OpenConfirm',
      3: 'Unexpected Message in Established',
    },
  ],
  6: [
    'Cease',
    {
      1: 'Maximum Number of Prefixes Reached',
      2: 'Administrative Shutdown',
      3: 'Peer De-configured',
      4: 'Administrative Reset',
      5: 'Connection Rejected',
      6: 'Other Configuration Change',
      7: 'Connection Collision Resolution',
      8: 'Out of Resources',
      9: 'Hard Reset',
      10: 'BFD Down',
    },
  ],
  7: ['ROUTE-REFRESH Message Error', { 1: 'Invalid Message Length' }],
  8: ['Send Hold Timer Expired', {}],
};

/** A whole NOTIFICATION; data beyond what a message holds is cut. */
export function encodeNotification(notification: Notification): Uint8Array {
  const data = notification.data.subarray(0, messageBytesMax - headerBytes - 2);
  return encodeMessage(messageType.notification, Uint8Array.of(notification.code, notification.subcode, ...data));
}

/** Decodes a whole NOTIFICATION (at least 21 octets, as the framer checked). `data` is a copy. */
export function decodeNotification(bytes: Uint8Array, start: number, end: number): Notification {
  const at = start + headerBytes;
  return { code: bytes[at] ?? 0, subcode: bytes[at + 1] ?? 0, data: bytes.slice(Math.min(at + 2, end), end) };
}

/**
 * Data of Cease/Administrative Shutdown and Reset: a length octet and UTF-8 text, cut at a character's border to 255 octets.
 */
export function shutdownData(text: string): Uint8Array {
  const bytes = utf8AtMost(text, shutdownTextBytesMax);
  return Uint8Array.of(bytes.length, ...bytes);
}

/** RFC 8538 3: the peer's routes go, graceful restart or not. */
export function isHardReset({ code, subcode }: Notification): boolean {
  return code === errorCode.cease && subcode === ceaseSubcode.hardReset;
}

/** Cease/Hard Reset around the NOTIFICATION that would have been sent otherwise (RFC 8538 3); never one around another. */
export function hardReset(inner: Notification): Notification {
  if (isHardReset(inner)) return inner;
  const data = Uint8Array.of(inner.code, inner.subcode, ...inner.data);
  return { code: errorCode.cease, subcode: ceaseSubcode.hardReset, data };
}

/** Text for people, e.g. `Cease/Administrative Shutdown: "maintenance"`. What the peer sent is quoted and escaped. */
export function describeNotification(notification: Notification): string {
  const { code, subcode, data } = notification;
  const [name, subcodes] = names[code] ?? [`Error Code ${code}`, {}];
  const subName = subcodes[subcode] ?? (subcode === 0 ? '' : `Subcode ${subcode}`);
  const head = subName ? `${name}/${subName}` : name;
  if (data.length === 0) return head;
  if (code === errorCode.cease) {
    if (subcode === ceaseSubcode.administrativeShutdown || subcode === ceaseSubcode.administrativeReset) {
      const text = shutdownText(data);
      return text === '' ? head : `${head}: ${text}`;
    }
    if (subcode === ceaseSubcode.maximumNumberOfPrefixesReached && data.length === 7) {
      const family = familyOfAfiSafi((data[0]! << 8) | data[1]!, data[2]!) ?? 'another family';
      const limit = new DataView(data.buffer, data.byteOffset).getUint32(3);
      return `${head}: ${family}, limit ${limit}`;
    }
    // RFC 8538 3: the NOTIFICATION that would have been sent is inside. One level only, whatever the peer nests.
    if (subcode === ceaseSubcode.hardReset && data.length >= 2) {
      const inner = { code: data[0]!, subcode: data[1]!, data: data.subarray(2) };
      if (!isHardReset(inner)) return `${head} (${describeNotification(inner)})`;
    }
  }
  return `${head}: ${hex(data)}`;
}

function shutdownText(data: Uint8Array): string {
  const length = data[0]!;
  if (length === 0) return '';
  if (length + 1 > data.length) return hex(data);
  try {
    return `"${escapeText(new TextDecoder('utf-8', { fatal: true }).decode(data.subarray(1, 1 + length)))}"`;
  } catch {
    return hex(data); // not UTF-8: shown as octets (RFC 9003 3)
  }
}

/** At most this many octets of unknown data are printed. */
const hexBytesMax = 64;

function hex(data: Uint8Array): string {
  const shown = Array.from(data.subarray(0, hexBytesMax), (b) => b.toString(16).padStart(2, '0')).join('');
  return data.length > hexBytesMax ? `0x${shown}… (${data.length} octets)` : `0x${shown}`;
}
