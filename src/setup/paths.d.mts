/** Types of paths.mjs, for the lab and the tests. */
export declare const root: string;
export declare const nodeBinary: string;
export declare function cacheFolder(env?: NodeJS.ProcessEnv): string;
export declare function toolPath(name: 'bird' | 'birdc' | 'cniShim' | 'cniReference'): string | undefined;
