/** Named bounds of BMP. */

/** Stations at most; each may have its own backlog of every prefix, and those are counted in 16 bits. */
export const stationsMax = 16;
/** A station whose socket holds more unsent bytes gets routes by its backlog from then on. */
export const stationQueueBytes = 1024 * 1024;
/** A station that does not even take the state of peers is disconnected: peers' ups and downs are not compressed. */
export const stationQueueBytesMax = 16 * 1024 * 1024;
/** A station that took nothing for so long while something waited is disconnected. */
export const stationStuckSec = 180;
/** RFC 7854 3.2: first and longest wait between attempts. */
export const stationRetrySec = 30;
export const stationRetrySecMax = 720;
/** Prefixes told to one station in one slice. */
export const stationPrefixesPerSlice = 4000;
/** Prefixes looked at in one slice of an initial dump. */
export const stationWalkPerSlice = 20_000;
/** And at most so many bytes, so that BGP has its turn in between. */
export const stationSliceBytes = 1024 * 1024;
/** Withdrawals of single paths (RFC 7911) that may wait for one table; they are not a bit, and a peer can make up identifiers. */
export const goneWithdrawalsMax = 100_000;
/** RFC 9069 5.2.1: the name of the table where there is only one. */
export const tableName = 'global';
