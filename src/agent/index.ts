export { cniSystem } from './cni-wiring.ts';
