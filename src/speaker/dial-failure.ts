/** Why there is no connection to a peer, for people. The code of errno(3) stays in the text: others look for it. */
const meanings: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused: nobody listens there, or nobody that knows us',
  ETIMEDOUT: 'no answer: a firewall, or another TCP-MD5 password',
  EHOSTUNREACH: 'host does not answer on its link, or a router says so',
  ENETUNREACH: 'no route to it',
  ECONNRESET: 'connection closed by the other end: it does not know us, or does not want us now',
  EADDRNOTAVAIL: 'local address is not of this host',
};

export function dialFailure({ code, message }: Pick<NodeJS.ErrnoException, 'code' | 'message'>): string {
  if (code === undefined) return message;
  return meanings[code] === undefined ? code : `${meanings[code]} (${code})`;
}
