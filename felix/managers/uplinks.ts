/** Kernel settings of a routing node: forwarding, ECMP by flow, next-hop objects without notifications, loose reverse path on uplinks. */
import { errorText, type Logger } from '#kit';
import type { SysctlFiles } from '../drivers/route-ports.ts';
import type { SysctlSettings } from '../drivers/sysctl.ts';

const LOOSE = '2';
const STRICT = 1;

export class Uplinks {
  readonly #settings: SysctlSettings;
  readonly #files: SysctlFiles;
  readonly #log: Logger;
  readonly #done = new Set<string>();

  constructor(settings: SysctlSettings, files: SysctlFiles, log: Logger) {
    this.#settings = settings;
    this.#files = files;
    this.#log = log;
  }

  /**
   * Settings of the whole node. `advertised`: devices that live on router advertisements; with forwarding on they listen only
   * when accept_ra is 2, so that comes first.
   *
   * @throws SysctlError when forwarding is off and cannot be switched on: without it no pod is reached.
   */
  enableForwarding(advertised: readonly string[]): void {
    for (const name of advertised) {
      const key = `net/ipv6/conf/${name}/accept_ra`;
      if (this.#files.read(key) === '1') this.#settings.ensure(key, '2');
    }
    this.#settings.ensure('net/ipv4/ip_forward', '1');
    this.#settings.ensure('net/ipv6/conf/all/forwarding', '1');
    // With 1 each change of a group is told for each route behind it, and takes as long.
    this.#try('net/ipv4/nexthop_compat_mode', '0');
    // By ports, not by addresses alone: flows between two hosts spread over both links.
    this.#try('net/ipv4/fib_multipath_hash_policy', '1');
    this.#try('net/ipv6/fib_multipath_hash_policy', '1');
  }

  /** Answers may come in by the other uplink: strict reverse path filtering would drop them. The kernel uses the larger of `all` and the device's. */
  loosen(name: string, ifIndex: number): void {
    const id = `${ifIndex} ${name}`;
    if (this.#done.has(id)) return;
    this.#done.add(id);
    const key = `net/ipv4/conf/${name}/rp_filter`;
    const effective = Math.max(
      Number(this.#files.read('net/ipv4/conf/all/rp_filter') ?? 0),
      Number(this.#files.read(key) ?? 0),
    );
    if (effective === STRICT) this.#try(key, LOOSE);
  }

  #try(key: string, value: string): void {
    try {
      this.#settings.ensure(key, value);
    } catch (error) {
      this.#log.warn({ key, value, reason: errorText(error) }, 'sysctl could not be set');
    }
  }
}
