export * from './datastore.ts';
export { createFileDatastore, type FileDatastoreDeps, type FileDatastoreOptions } from './file/file-datastore.ts';
export { type ReadManifests, readManifests } from './file/read-manifests.ts';
export {
  type KubeClient,
  KubeError,
  type KubeFailure,
  type KubeRequest,
  type KubeResponse,
  statusMessage,
} from './kube/client.ts';
export {
  connectKube,
  type KubeConnection,
  type KubeConnectionDeps,
  type KubeConnectionOptions,
} from './kube/connection.ts';
export {
  createKubeDatastore,
  type KubeDatastore,
  type KubeDatastoreDeps,
  type KubeDatastoreOptions,
} from './kube/kube-datastore.ts';
export { ListClusterError, type ListClusterFailure, type ListedCluster, listCluster } from './kube/list-cluster.ts';
export type { KubeObserver } from './kube/observer.ts';
export { compareResourceVersions } from './kube/resource-version.ts';
export {
  type Decoded,
  decodeObject,
  type Identity,
  identify,
  type ObjectRef,
  shownKind,
  type TypedObject,
  writtenKind,
} from './manifest/decode.ts';
export { type ManifestDocument, type ParsedManifest, type Place, parseManifest } from './manifest/parse.ts';
export { type FieldFault, formatPath } from './manifest/reader.ts';
export { pauseIfDue } from './time-slice.ts';
