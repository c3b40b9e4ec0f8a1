/** Bidirectional Forwarding Detection (RFC 5880 to 5883), pure: sockets, clock and chance are handed in. */
export { BfdEngine, type BfdEngineHooks, bfdSessionsMax, type PacketPath } from './engine.ts';
export {
  type ControlPacket,
  controlPacketBytes,
  decodeControlPacket,
  emptyControlPacket,
  encodeControlPacket,
} from './packet.ts';
export * from './types.ts';
