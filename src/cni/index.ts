export * from './conflist.ts';
export * from './ports.ts';
export * from './server.ts';
