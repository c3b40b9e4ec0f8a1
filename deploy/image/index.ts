/** What tests and benches take of the image's making. */
export { bundle, bundleEntry } from './bundle.ts';
export { nodeEnvironment, nodeFlags } from './runtime.ts';
