/** `tcpAO` of a BGPPeer (ours): keys of TCP-AO (RFC 5925), in order of preference. */
import type { BGPPeerObject, TCPAOKey } from '#model';
import { readSecretSource } from './calico-fields.ts';
import type { Reader } from './reader.ts';

const keysMax = 16;
const keyIdMax = 255;
const algorithms = ['hmac-sha-1-96', 'aes-128-cmac-96'] as const;

export function readTcpAo(spec: Reader): BGPPeerObject['tcpAO'] {
  const reader = spec.field('tcpAO');
  if (!reader.present) return undefined;
  reader.onlyFields(['keys']);
  if (spec.field('password').present) reader.fault('stands beside password (TCP-MD5); keep one of them');
  const keysReader = reader.field('keys');
  const entries = keysReader.list();
  if (entries.length === 0) return keysReader.fault('is required; write at least one key');
  if (entries.length > keysMax) return keysReader.fault(`has ${entries.length} keys; at most ${keysMax} are possible`);
  const oneObject = spec.field('peerSelector').textOrNone() !== undefined;
  const keys = entries.map((entry) => readKey(entry, oneObject));
  if (!keys.every((key) => key !== undefined)) return undefined;
  for (const field of ['sendID', 'recvID'] as const) {
    for (const [index, { [field]: id }] of keys.entries()) {
      if (keys.findIndex((other) => other[field] === id) === index) continue;
      return entries[index]!.field(field).fault(`${id} is that of another key; each key needs its own (RFC 5925 3.1)`);
    }
  }
  return { keys };
}

/** @param bothEnds made from the one object: what one sends the other receives. */
function readKey(reader: Reader, bothEnds: boolean): TCPAOKey | undefined {
  reader.onlyFields(['sendID', 'recvID', 'algorithm', 'secret', 'excludeTCPOptions']);
  const sendID = readId(reader.field('sendID'));
  const recvID = readId(reader.field('recvID'));
  if (bothEnds && sendID !== undefined && recvID !== undefined && sendID !== recvID) {
    return reader
      .field('recvID')
      .fault(`is not sendID ${sendID}; with peerSelector both ends are of this object, write one number in both`);
  }
  const algorithmReader = reader.field('algorithm');
  const algorithm = algorithmReader.present
    ? algorithmReader.choiceOrNone(algorithms)
    : algorithmReader.fault(`is required; write ${algorithms.join(' or ')}`);
  const secretReader = reader.field('secret');
  const secret = secretReader.present
    ? readSecretSource(secretReader, 'TCP-AO')
    : secretReader.fault('is required; name a Secret: secretKeyRef: {name, key}');
  const excludeTCPOptions = reader.field('excludeTCPOptions').boolean();
  if (sendID === undefined || recvID === undefined || !algorithm || !secret) return undefined;
  return { sendID, recvID, algorithm, secret, ...(excludeTCPOptions === undefined ? {} : { excludeTCPOptions }) };
}

function readId(reader: Reader): number | undefined {
  if (!reader.present) return reader.fault(`is required; write a number from 0 to ${keyIdMax}`);
  return reader.integer(0, keyIdMax);
}
