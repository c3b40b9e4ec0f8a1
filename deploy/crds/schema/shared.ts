/** Schema parts of several kinds. */
import { type CelRule, flag, integer, object, rules, type Schema, text } from './build.ts';

/** Text of a selector in Calico's language. */
export function selector(description: string, more: Omit<Schema, 'description' | 'type'> = {}): Schema {
  return text(`${description} A selector such as rack == 'r1' && has(bgp), or all().`, 1024, more);
}

/** RFC 6793: four octets, zero is reserved (RFC 7607). Text holds the plain number or `high.low` (RFC 5396). */
export function asNumber(description: string): Schema {
  return {
    description: `${description} 1 to 4294967295, or text such as "64512" or "1.10".`,
    'x-kubernetes-int-or-string': true,
    minimum: 1,
    maximum: 4_294_967_295,
    maxLength: 11,
    pattern: '^([1-9][0-9]{0,9}|[1-9][0-9]{0,4}[.][0-9]{1,5}|0[.]0{0,4}[1-9][0-9]{0,4})$',
  };
}

const durationText = '^([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$';
export interface DurationLimits {
  readonly field: string;
  readonly maxSec: number;
  readonly minSec?: number;
  /** RFC 4271 4.2: a hold time is zero or at least three seconds. */
  readonly zeroOr?: number;
}
/** Whole seconds as metav1.Duration writes them. */
export function seconds(description: string, { field, maxSec, minSec, zeroOr }: DurationLimits): Schema {
  const least = minSec === undefined ? '' : ` && duration(self) >= duration('${minSec}s')`;
  const bounds = minSec === undefined ? `at most ${maxSec}s` : `${minSec}s to ${maxSec}s`;
  const range: CelRule[] = [
    {
      rule: `self.size() > 1 && self.matches('${durationText}') && duration(self) <= duration('${maxSec}s')${least}`,
      message: `${field} must be whole seconds such as 90s or 1m30s, ${bounds}`,
    },
  ];
  if (zeroOr !== undefined) {
    range.push({
      rule: `!self.matches('${durationText}') || self.size() < 2 || duration(self) == duration('0s') || duration(self) >= duration('${zeroOr}s')`,
      message: `${field} must be 0s (no keepalives) or at least ${zeroOr}s: BGP allows nothing in between`,
    });
  }
  return text(description, 20, rules(...range));
}

/** An interval of BFD, milliseconds or seconds. */
function interval(description: string, field: string): Schema {
  return text(
    description,
    7,
    rules({
      rule: "self.matches('^([0-9]{1,5}ms|[0-9]{1,2}s)$') && duration(self) >= duration('10ms') && duration(self) <= duration('60s')",
      message: `${field} must be 10ms to 60s, such as 300ms or 1s`,
    }),
  );
}

export function bfdSettings(description: string, field: string): Schema {
  return object(description, {
    minTx: interval('Shortest interval at which the node sends, 300ms if left out.', `${field}.minTx`),
    minRx: interval('Shortest interval at which the peer may send, 300ms if left out.', `${field}.minRx`),
    multiplier: integer('So many packets in a row must be lost, 3 if left out.', 1, 255),
    multihop: flag(
      'The peer is not on a link of the node (RFC 5883): UDP port 4784 in place of 3784, at both ends. False if left out.',
    ),
    graceful: flag(
      "The peer's BFD ends with its routing process: BFD that falls is taken for a restart, and its routes are kept for the restart time. False if left out.",
    ),
  });
}

export function secretPassword(description: string): Schema {
  return object(description, {
    secretKeyRef: object(
      "One key of a Secret in the namespace that Poplin's agents run in. While the Secret or the key is missing, the sessions stay down.",
      {
        name: text('Name of the Secret.', 253, { minLength: 1 }),
        key: text('Key in its data; at most 80 bytes of text, as TCP-MD5 and TCP-AO take.', 253, { minLength: 1 }),
        optional: {
          description: 'Without effect: a session never goes on without its password or keys.',
          type: 'boolean',
        },
      },
      { required: ['name', 'key'], 'x-kubernetes-map-type': 'atomic' },
    ),
  });
}

/** `aa:nn` (RFC 1997) or `aa:nn:mm` (RFC 8092). */
export function communityRule(field: string, self: string): CelRule {
  const parts = `${self}.split(':')`;
  return {
    rule: `${self}.matches('^[0-9]{1,10}(:[0-9]{1,10}){1,2}$') && ${parts}.all(part, int(part) <= (${parts}.size() == 2 ? 65535 : 4294967295))`,
    message: `${field} must be aa:nn with 16-bit numbers or aa:nn:mm with 32-bit numbers, such as 64512:100`,
  };
}

const upTo65535 = '([0-9]|[1-9][0-9]{1,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])';
const upTo4294967295 =
  '([0-9]|[1-9][0-9]{1,8}|[1-3][0-9]{9}|4[01][0-9]{8}|42[0-8][0-9]{7}|429[0-3][0-9]{6}|4294[0-8][0-9]{5}|42949[0-5][0-9]{4}|429496[0-6][0-9]{3}|4294967[01][0-9]{2}|42949672[0-8][0-9]|429496729[0-5])';
/** The same as a pattern, where a rule would cost too much: in lists of lists. */
export const communityPattern = `^(${upTo65535}:${upTo65535}|${upTo4294967295}(:${upTo4294967295}){2})$`;

export function cidrText(description: string, field: string): Schema {
  return text(
    description,
    49,
    rules({
      rule: 'isCIDR(self)',
      message: `${field} must be a prefix with its length, such as 10.1.0.0/16 or 2001:db8::/32`,
    }),
  );
}

/** Kernel route metric, as Calico's priorities. */
export function routePriority(description: string): Schema {
  return integer(description, 1, 2_147_483_646);
}

export const logSeverityPattern = '^(?i)(Trace|Debug|Info|Warning|Error|Fatal)?$';
