/** CNI: the plugin's other end. The plugin itself is shim/poplin-cni.c. */
export * from './conflist.ts';
export { InstallError, type InstallResult, installPlugins, removePlugins } from './install.ts';
export { FIRST_IF_NAME, hostInterfaceName } from './names.ts';
export * from './ports.ts';
export type { PodReference } from './request.ts';
export * from './server.ts';
export { readAttachments } from './store.ts';
