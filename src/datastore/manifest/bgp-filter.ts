/** projectcalico.org/v3 BGPFilter, with every check that Calico makes. */
import { type Cidr, familyOf } from '#kit';
import type { BGPFilterObject, BGPFilterOperation, BGPFilterRule, ObjectMeta } from '#model';
import { readAsns, readCommunity, readInterfacePattern } from './calico-fields.ts';
import { readCidr } from './metadata.ts';
import { type Reader, show } from './reader.ts';

const ruleFields = [
  'action',
  'cidr',
  'matchOperator',
  'prefixLength',
  'source',
  'interface',
  'peerType',
  'communities',
  'asPathPrefix',
  'priority',
  'operations',
];
const operationFields = ['addCommunity', 'prependASPath', 'setPriority'] as const;
/** As in the definition of the kind (deploy/crds). */
const rulesMax = 5000;
const operationsMax = 10;
const prependMax = 10;
const asPathPrefixMax = 64;
/** Of route metrics: the kernel's are unsigned, Calico's priorities stay below the signed maximum. */
const priorityMax = 2 ** 31 - 2;

export function readBgpFilter(document: Reader, metadata: ObjectMeta): BGPFilterObject {
  const spec = document.field('spec');
  spec.onlyFields(['exportV4', 'importV4', 'exportV6', 'importV6']);
  const rules = (name: string, family: 4 | 6): readonly BGPFilterRule[] =>
    spec
      .field(name)
      .list(rulesMax)
      .flatMap((rule) => readRule(rule, family) ?? []);
  return {
    metadata,
    exportV4: rules('exportV4', 4),
    importV4: rules('importV4', 4),
    exportV6: rules('exportV6', 6),
    importV6: rules('importV6', 6),
  };
}

function readRule(reader: Reader, family: 4 | 6): BGPFilterRule | undefined {
  reader.onlyFields(ruleFields);
  const actionReader = reader.field('action');
  const action = actionReader.present
    ? actionReader.oneOf(['Accept', 'Reject'] as const)
    : actionReader.fault('is required; write Accept or Reject');
  const prefix = readPrefixMatch(reader, family);
  const source = reader.field('source').choiceOrNone(['RemotePeers'] as const);
  const interfaceName = readInterfacePattern(reader.field('interface'));
  const peerType = reader.field('peerType').choiceOrNone(['eBGP', 'iBGP'] as const);
  const communities = readCommunities(reader.field('communities'));
  const asPathPrefix = readAsns(reader.field('asPathPrefix'), asPathPrefixMax);
  const priority = reader.field('priority').integer(1, priorityMax);
  const operations = readOperations(reader.field('operations'), action);
  return (
    action && {
      action,
      ...prefix,
      ...(source ? { source } : {}),
      ...(interfaceName ? { interface: interfaceName } : {}),
      ...(peerType ? { peerType } : {}),
      ...(communities ? { communities } : {}),
      ...(asPathPrefix ? { asPathPrefix } : {}),
      ...(priority === undefined ? {} : { priority }),
      ...(operations.length === 0 ? {} : { operations }),
    }
  );
}

type PrefixMatch = Pick<BGPFilterRule, 'cidr' | 'matchOperator' | 'prefixLength'>;

function readPrefixMatch(reader: Reader, family: 4 | 6): PrefixMatch {
  const cidrReader = reader.field('cidr');
  const cidrGiven = cidrReader.present && cidrReader.value !== '';
  const cidr = cidrGiven ? readCidrOf(cidrReader, family) : undefined;
  const operatorReader = reader.field('matchOperator');
  const matchOperator = operatorReader.choiceOrNone(['Equal', 'NotEqual', 'In', 'NotIn'] as const);
  if (cidrGiven && !operatorReader.present)
    operatorReader.fault('is required beside cidr; write Equal, NotEqual, In or NotIn');
  if (!cidrGiven && matchOperator) operatorReader.fault('stands without cidr; write what is compared, or remove it');
  const lengthReader = reader.field('prefixLength');
  const prefixLength = readPrefixLength(lengthReader, family === 4 ? 32 : 128);
  if (prefixLength && !cidrGiven) lengthReader.fault('stands without cidr; add cidr and matchOperator, or remove it');
  return {
    ...(cidr ? { cidr } : {}),
    ...(matchOperator ? { matchOperator } : {}),
    ...(prefixLength ? { prefixLength } : {}),
  };
}

function readCidrOf(reader: Reader, family: 4 | 6): Cidr | undefined {
  const cidr = readCidr(reader);
  if (cidr && familyOf(cidr) !== family) {
    return reader.fault(`${cidr} is not IPv${family}; move the rule to the list for IPv${family === 4 ? 6 : 4}`);
  }
  return cidr;
}

function readPrefixLength(reader: Reader, bits: number): BGPFilterRule['prefixLength'] {
  if (!reader.present) return undefined;
  reader.onlyFields(['min', 'max']);
  const min = reader.field('min').integer(0, bits);
  const max = reader.field('max').integer(0, bits);
  if (min !== undefined && max !== undefined && min > max) {
    reader.field('min').fault(`${min} is larger than max ${max}; swap them`);
  }
  return { ...(min === undefined ? {} : { min }), ...(max === undefined ? {} : { max }) };
}

function readCommunities(reader: Reader): readonly string[] | undefined {
  if (!reader.present) return undefined;
  reader.onlyFields(['values']);
  const values = reader.field('values');
  const entries = values.list();
  if (entries.length !== 1) return values.fault(`has ${entries.length} entries; write exactly one community`);
  return entries.flatMap((entry) => readCommunity(entry) ?? []);
}

function readOperations(reader: Reader, action: BGPFilterRule['action'] | undefined): readonly BGPFilterOperation[] {
  const entries = reader.list(operationsMax);
  if (entries.length > 0 && action === 'Reject') {
    reader.fault('stands beside action Reject, which changes nothing; write action: Accept, or remove it');
  }
  return entries.flatMap((entry) => readOperation(entry) ?? []);
}

function readOperation(reader: Reader): BGPFilterOperation | undefined {
  reader.onlyFields(operationFields);
  const given = operationFields.filter((name) => reader.field(name).present);
  const [type] = given;
  if (type === undefined || given.length > 1) {
    return reader.fault(`has ${show(given)}; write exactly one of ${operationFields.join(', ')} in each entry`);
  }
  const operation = reader.field(type);
  switch (type) {
    case 'addCommunity': {
      operation.onlyFields(['value']);
      const value = readCommunity(operation.field('value'));
      return value === undefined ? undefined : { type, value };
    }
    case 'prependASPath': {
      operation.onlyFields(['prefix']);
      const prefix = operation.field('prefix');
      const asNumbers = readAsns(prefix, prependMax);
      if (!asNumbers) {
        if (!prefix.present || show(prefix.value) === '[]')
          prefix.fault('is required; write the AS numbers to put in front');
        return undefined;
      }
      return { type, asNumbers };
    }
    case 'setPriority': {
      operation.onlyFields(['value']);
      const valueReader = operation.field('value');
      const value = valueReader.present ? valueReader.integer(1, priorityMax) : valueReader.fault('is required');
      return value === undefined ? undefined : { type, value };
    }
  }
}
