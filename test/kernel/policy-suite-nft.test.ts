import { suite } from 'node:test';
import { packetNeeds, policySuitesOnPackets } from '../support/policy-suite-packets.ts';

suite('policy suites on packets, iptables-nft', packetNeeds, () => policySuitesOnPackets('nft'));
