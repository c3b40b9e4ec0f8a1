/** What tests and benches take of the image's making. */
export { bundle, bundleEntry, nodeFlags } from './bundle.ts';
