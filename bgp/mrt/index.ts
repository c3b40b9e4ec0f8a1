/** MRT, RFC 6396 and RFC 8050: written and read. */
export { mrtRecordBytesMax, readMrt } from './read.ts';
export { MrtRecorder, type RecorderOptions } from './recorder.ts';
export { type DumpPeer, type DumpTables, ownDumpPeer, TableDump } from './table-dump.ts';
export * from './types.ts';
