/** Types of paths.mjs, for the lab and the tests. */
export declare const root: string;
export declare const nodeBinary: string;
export declare function cacheFolder(env?: NodeJS.ProcessEnv): string;
type ToolName =
  | 'bird'
  | 'birdc'
  | 'cniShim'
  | 'cniReference'
  | 'runc'
  | 'containerd16'
  | 'busybox'
  | 'netcat'
  | 'dnsutils';
export declare function toolPath(name: ToolName): string | undefined;
