/** Named bounds of the speaker. */

/** A peer whose socket holds more unsent bytes than this gets updates by its backlog from then on. */
export const peerQueueBytesMax = 1024 * 1024;
/** Prefixes decided, or pumped to one peer, in one slice: some milliseconds. */
export const prefixesPerSlice = 10_000;
/** One of many members gets at least so many in a slice. */
export const prefixesPerMemberMin = 64;
/** Decided in the first slice; each that was full doubles it. Code that has not run yet takes several times as long. */
export const prefixesPerSliceFirst = 1250;
/** Next hops, or sets of them, above which those that nothing uses are looked for and freed. */
export const nextHopsSweepMin = 4096;
/** How long stale routes of a peer that is back may wait for its End-of-RIB. */
export const staleRoutesSecMax = 360;
/** RFC 7313 4.2: how long routes that a refresh has not confirmed may wait for its EoRR. */
export const refreshSecMax = 360;
/** BoRRs of one family that follow sooner than this are one: each costs a pass over the table. */
export const refreshSpacingMs = 100;
/** Route selection deferral lasts at least this long while no peer is done: peers need time to connect. */
export const deferralGraceSec = 5;
/** How long a peer that restarts as well (R) is waited for; FRR says R for its first 120 s and tells its routes after 1.1 s. */
export const deferralRestartingSec = 3;
/** How long after a peer was done those without a connection hold up route selection. */
export const deferralSettleMs = 500;
/** How long a drain waits for peers to take what they are told, and after that for them to act on it. */
export const drainTellMsMax = 2000;
export const drainSettleMs = 1000;
/** RFC 9687 5: the send hold time is the greater of this and twice the hold time. */
export const sendHoldSecMin = 480;
/** A peer of a range that has no connection, and whose routes are gone, is forgotten after this. */
export const rangePeerIdleSec = 30;
/** In a range that is full, one that has a connection and no session for so long gives way. */
export const rangePeerOpeningSec = 10;
/** A neighbour on an interface that was silent for so long gives way to another one, unless there is a session. */
export const neighbourAgeSec = 60;
export const routesPerAnswerMax = 1000;
export const routesPerAnswerDefault = 100;
