/**
 * Certificates for test clusters: node:crypto makes keys and signatures and reads X.509, but writes none, so the few DER structures
 * of RFC 5280 that a TLS certificate takes are written here. ECDSA on P-256, a millisecond each; no openssl program.
 */
import crypto from 'node:crypto';
import net from 'node:net';

export interface KeyPair {
  /** PKCS #8, PEM. */
  readonly key: string;
  /** PEM. */
  readonly certificate: string;
}

export interface CertificateOptions {
  /** Client certificates: the user's name for Kubernetes. */
  readonly commonName: string;
  /** Client certificates: the user's groups. */
  readonly organizations?: readonly string[];
  /** Subject alternative names, IP addresses and DNS names. */
  readonly names?: readonly string[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

const dayMs = 86_400_000;

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const size = content.length;
  const length = size < 0x80 ? [size] : size < 0x100 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, ...parts);
const octets = (content: Uint8Array): Buffer => der(0x04, content);
const bits = (content: Uint8Array, unused = 0): Buffer => der(0x03, Buffer.from([unused]), content);
const truth = der(0x01, Buffer.from([0xff]));
const utf8 = (text: string): Buffer => der(0x0c, Buffer.from(text));

function oid(dotted: string): Buffer {
  const [first, second, ...rest] = dotted.split('.').map(Number);
  const bytes = [first! * 40 + second!];
  for (const arc of rest) {
    const groups = [arc & 0x7f];
    for (let left = arc >> 7; left > 0; left >>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return der(0x06, Buffer.from(bytes));
}

/** RFC 5280 4.1.2.5: UTCTime before 2050, GeneralizedTime from then on. */
function time(date: Date): Buffer {
  const text = date
    .toISOString()
    .replaceAll(/[-:T]/g, '')
    .replace(/\.\d+Z$/, 'Z');
  return date.getUTCFullYear() < 2050 ? der(0x17, Buffer.from(text.slice(2))) : der(0x18, Buffer.from(text));
}

function distinguishedName(commonName: string, organizations: readonly string[] = []): Buffer {
  const attribute = (type: string, value: string): Buffer => der(0x31, sequence(oid(type), utf8(value)));
  return sequence(...organizations.map((name) => attribute('2.5.4.10', name)), attribute('2.5.4.3', commonName));
}

function addressBytes(address: string): Buffer {
  if (net.isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  const [head, tail] = address.split('::');
  const groups = (text: string | undefined): string[] => (text ? text.split(':') : []);
  const missing = 8 - groups(head).length - groups(tail).length;
  const all = [...groups(head), ...Array<string>(tail === undefined ? 0 : missing).fill('0'), ...groups(tail)];
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
}

function extension(id: string, value: Uint8Array, critical = false): Buffer {
  return sequence(oid(id), ...(critical ? [truth] : []), octets(value));
}

function alternativeNames(names: readonly string[]): Buffer {
  const one = (name: string): Buffer => (net.isIP(name) ? der(0x87, addressBytes(name)) : der(0x82, Buffer.from(name)));
  return extension('2.5.29.17', sequence(...names.map(one)));
}

const ecdsaWithSha256 = sequence(oid('1.2.840.10045.4.3.2'));
const certificateAuthority = [
  extension('2.5.29.19', sequence(truth), true),
  extension('2.5.29.15', bits(Buffer.from([0x06]), 1), true), // keyCertSign, cRLSign
];
const leaf = [
  extension('2.5.29.15', bits(Buffer.from([0x80]), 7), true), // digitalSignature
  extension('2.5.29.37', sequence(oid('1.3.6.1.5.5.7.3.1'), oid('1.3.6.1.5.5.7.3.2'))), // serverAuth, clientAuth
];

interface Issuer {
  readonly name: Buffer;
  readonly key: crypto.KeyObject;
}

/** RFC 5280 4.2.1.2, after its method (1). */
function keyIdentifier(publicKey: crypto.KeyObject): Buffer {
  return crypto
    .createHash('sha1')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest();
}

function certificate(
  options: CertificateOptions,
  publicKey: crypto.KeyObject,
  issuer: Issuer,
  extensions: readonly Buffer[],
): string {
  const now = Date.now();
  const serial = crypto.randomBytes(16);
  serial[0] = (serial[0]! & 0x7f) | 0x40; // positive, and of full length
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))), // version 3
    der(0x02, serial),
    ecdsaWithSha256,
    issuer.name,
    sequence(time(options.notBefore ?? new Date(now - dayMs)), time(options.notAfter ?? new Date(now + 3650 * dayMs))),
    distinguishedName(options.commonName, options.organizations),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(
      0xa3,
      sequence(
        ...extensions,
        extension('2.5.29.14', octets(keyIdentifier(publicKey))),
        extension('2.5.29.35', sequence(der(0x80, keyIdentifier(crypto.createPublicKey(issuer.key))))),
      ),
    ),
  );
  const signed = sequence(body, ecdsaWithSha256, bits(crypto.sign('sha256', body, issuer.key)));
  const lines = signed.toString('base64').replaceAll(/.{64}/g, '$&\n').trimEnd();
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}

/** A certificate authority of its own key. */
export class CertificateAuthority {
  readonly certificate: string;
  readonly key: string;
  readonly #key: crypto.KeyObject;
  readonly #name: Buffer;

  constructor(commonName: string) {
    const { privateKey, publicKey } = newKey();
    this.#key = privateKey;
    this.#name = distinguishedName(commonName);
    this.key = pem(privateKey);
    this.certificate = certificate(
      { commonName },
      publicKey,
      { name: this.#name, key: privateKey },
      certificateAuthority,
    );
  }

  /** A key and a certificate for it, good for servers and for clients. */
  issue(options: CertificateOptions): KeyPair {
    const { privateKey, publicKey } = newKey();
    const names = options.names?.length ? [alternativeNames(options.names)] : [];
    const issuer = { name: this.#name, key: this.#key };
    return { key: pem(privateKey), certificate: certificate(options, publicKey, issuer, [...leaf, ...names]) };
  }
}

export function newKey(): { readonly privateKey: crypto.KeyObject; readonly publicKey: crypto.KeyObject } {
  return crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

export function pem(key: crypto.KeyObject): string {
  return key.export({ type: key.type === 'public' ? 'spki' : 'pkcs8', format: 'pem' }) as string;
}
