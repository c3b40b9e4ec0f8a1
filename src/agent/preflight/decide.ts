/** What the facts about a cluster mean for somebody who is about to install Poplin in it. Pure. */
import { poolProblems } from '#model';
import { calicoResources, type DaemonSetFacts, type NodeFacts, type PreflightFacts } from './facts.ts';

export type Manifest = 'poplin.yaml' | 'poplin-existing-crds.yaml';

export interface Finding {
  /** `problem`: Poplin will not work, or break what is there. `warning`: look at it. */
  readonly severity: 'problem' | 'warning';
  readonly subject: string;
  /** What is found, and what to do. */
  readonly message: string;
}

export interface PreflightReport {
  readonly server: string;
  readonly version: string;
  readonly manifest: Manifest;
  /** Why that one. */
  readonly because: string;
  /** Problems first. */
  readonly findings: readonly Finding[];
}

/** The definitions' rules use isIP, ip, isCIDR and cidr, which are served by default from here on. */
export const oldestVersion = { major: 1, minor: 31 } as const;

export function decidePreflight(facts: PreflightFacts): PreflightReport {
  const findings = [
    ...versionFindings(facts),
    ...calicoFindings(facts),
    ...pluginFindings(facts),
    ...nodeFindings(facts),
    ...proxyFindings(facts),
    ...rangeFindings(facts),
    ...facts.unread.map(({ path, why }) => problem(path, `cannot be read (${why}); take credentials that may`)),
  ];
  const rank = ({ severity }: Finding): number => (severity === 'problem' ? 0 : 1);
  return {
    server: facts.server,
    version: facts.version,
    ...chooseManifest(facts),
    findings: findings.sort((a, b) => rank(a) - rank(b)),
  };
}

function problem(subject: string, message: string): Finding {
  return { severity: 'problem', subject, message };
}
function warning(subject: string, message: string): Finding {
  return { severity: 'warning', subject, message };
}

/** Definitions of ours are never put over somebody else's. */
function chooseManifest(facts: PreflightFacts): Pick<PreflightReport, 'manifest' | 'because'> {
  const others = facts.definitions.filter(({ ours }) => !ours);
  if (facts.aggregated) {
    return {
      manifest: 'poplin-existing-crds.yaml',
      because: "Calico's API server serves projectcalico.org/v3 already",
    };
  }
  if (others.length > 0) {
    const names = others.map(({ resource }) => resource).join(', ');
    return { manifest: 'poplin-existing-crds.yaml', because: `projectcalico.org is defined here by others: ${names}` };
  }
  if (facts.definitions.length > 0) {
    return {
      manifest: 'poplin.yaml',
      because: 'projectcalico.org/v3 is defined here by Poplin, and will be brought up to date',
    };
  }
  if (facts.servedV3) {
    return { manifest: 'poplin-existing-crds.yaml', because: 'projectcalico.org/v3 is served already' };
  }
  return { manifest: 'poplin.yaml', because: 'projectcalico.org/v3 is not served here' };
}

function versionFindings({ version }: PreflightFacts): Finding[] {
  const match = /^v?(\d+)\.(\d+)/.exec(version);
  const oldest = `${oldestVersion.major}.${oldestVersion.minor}`;
  if (!match)
    return [warning('API server', `says its version is ${JSON.stringify(version)}; it must be at least ${oldest}`)];
  const [major, minor] = [Number(match[1]), Number(match[2])];
  const enough = major > oldestVersion.major || (major === oldestVersion.major && minor >= oldestVersion.minor);
  return enough ? [] : [problem('API server', `is ${version}; upgrade it to ${oldest} or newer first`)];
}

function calicoFindings(facts: PreflightFacts): Finding[] {
  const found: Finding[] = [];
  if (facts.aggregated && !facts.aggregated.available) {
    const why = facts.aggregated.message || 'it does not answer';
    found.push(
      problem(
        'APIService v3.projectcalico.org',
        `is not available (${why}); repair Calico's API server, or remove the APIService if Calico is gone`,
      ),
    );
  }
  const foreign = chooseManifest(facts).manifest === 'poplin-existing-crds.yaml';
  const missing = calicoResources.filter((name) => !facts.servedV3?.includes(name));
  if (foreign && (facts.aggregated?.available ?? true)) {
    if (missing.length > 0) {
      found.push(
        warning(
          'projectcalico.org/v3',
          `lacks ${missing.join(', ')}: these kinds are off until Calico's definitions have them`,
        ),
      );
    }
    found.push(
      warning(
        'projectcalico.org/v3',
        "is not Poplin's: the fields holdTime, interface, range, limit, asNumbers, remoteAS, tcpAO, adjRibIn, bfd, maxPrefixes, addPath, gracefulShutdown, longLivedStaleTime, role, strictRole, blackhole, linkBandwidth, advertiseNodeAddresses, nodeMeshFilters and nodeMeshBFD and the statuses of objects are off where its definitions lack them",
      ),
    );
  }
  if (facts.stored.length > 0) {
    const what = facts.stored.map(({ resource, count }) => `${count} ${resource}`).join(', ');
    found.push(
      warning(
        'crd.projectcalico.org/v1',
        `holds ${what}, which Poplin reads as well (projectcalico.org/v3 counts more); delete those that are not meant any more`,
      ),
    );
  }
  return found;
}

/** Whose DaemonSets they are, by name or image. */
const plugins: readonly { readonly product: string; readonly pattern: RegExp }[] = [
  { product: 'Calico', pattern: /^(calico-node|canal)$|(^|\/)calico\/node\b|(^|\/)node-calico\b/ },
  { product: 'Cilium', pattern: /^cilium$|(^|\/)cilium\/cilium\b/ },
  { product: 'Flannel', pattern: /^kube-flannel(-ds)?\b|(^|\/)flannel(\/flannel)?:/ },
  { product: 'kube-router', pattern: /^kube-router$|(^|\/)kube-router\b/ },
  { product: 'Weave Net', pattern: /^weave-net$|(^|\/)weave-kube\b/ },
  { product: 'Antrea', pattern: /^antrea-agent$|(^|\/)antrea-agent/ },
  { product: 'Kube-OVN', pattern: /^kube-ovn-cni$|(^|\/)kube-ovn\b/ },
  { product: 'OVN-Kubernetes', pattern: /^ovnkube-node$/ },
  { product: 'kindnet', pattern: /^kindnet$|(^|\/)kindnetd\b/ },
  { product: 'Amazon VPC CNI', pattern: /^aws-node$/ },
  { product: 'Azure CNI', pattern: /^azure-cn[is]/ },
];

function pluginFindings({ daemonSets, nodes }: PreflightFacts): Finding[] {
  const others = daemonSets.flatMap((set) => {
    const product = set.ours ? undefined : plugins.find(({ pattern }) => matches(set, pattern))?.product;
    return product ? [{ set, product }] : [];
  });
  if (others.length > 0) {
    return others.map(({ set, product }) =>
      problem(
        `DaemonSet ${set.namespace}/${set.name}`,
        `is ${product}: two network plugins on a node take pods from each other; remove it, and its file in /etc/cni/net.d on every node`,
      ),
    );
  }
  // Without a configuration of a network plugin no kubelet says Ready.
  const ready = nodes.filter((node) => node.ready && node.operatingSystem === 'linux');
  if (daemonSets.some(({ ours }) => ours) || ready.length === 0) return [];
  return [
    warning(
      some(ready),
      'Ready before Poplin: some network plugin is configured there. Look into /etc/cni/net.d; the first file by name is the one that counts',
    ),
  ];
}

function matches({ name, images }: DaemonSetFacts, pattern: RegExp): boolean {
  return pattern.test(name) || images.some((image) => pattern.test(image));
}

function nodeFindings({ nodes }: PreflightFacts): Finding[] {
  if (nodes.length === 0) return [warning('nodes', 'there are none yet')];
  const linux = nodes.filter(({ operatingSystem }) => operatingSystem === 'linux');
  const others = nodes.filter(({ operatingSystem }) => operatingSystem !== 'linux');
  const without = linux.filter(({ podCIDRs }) => podCIDRs.length === 0);
  return [
    ...(without.length > 0
      ? [
          problem(
            some(without),
            `without spec.podCIDRs, out of which pods get their addresses; run kube-controller-manager with --allocate-node-cidrs=true and --cluster-cidr=RANGE`,
          ),
        ]
      : []),
    ...(others.length > 0 ? [warning(some(others), 'not Linux: Poplin does not run there')] : []),
  ];
}

const namesShownMax = 3;

/** `2 nodes (a, b)`. */
function some(nodes: readonly NodeFacts[]): string {
  const names = nodes.slice(0, namesShownMax).map(({ name }) => name);
  const more = nodes.length > names.length ? ', ...' : '';
  return `${nodes.length} ${nodes.length === 1 ? 'node' : 'nodes'} (${names.join(', ')}${more})`;
}

function proxyFindings({ daemonSets, kubeProxyMode, version }: PreflightFacts): Finding[] {
  // These run it inside their own process or as a static pod.
  if (/\+(k3s|rke2)/.test(version)) return [];
  const found = daemonSets.some((set) => matches(set, /^kube-proxy\b|(^|\/)kube-proxy\b/));
  if (!found) {
    return [
      warning(
        'kube-proxy',
        'is no DaemonSet here. Poplin does not replace it: without it Services have no addresses, and the agents need the option kubeApiServer',
      ),
    ];
  }
  return kubeProxyMode === 'ipvs'
    ? [warning('kube-proxy', 'runs in mode ipvs; Poplin is tested beside iptables and nftables')]
    : [];
}

function rangeFindings({ pools, serviceRanges }: PreflightFacts): Finding[] {
  return poolProblems(pools, serviceRanges).map(({ object, field, message }) => warning(`${object} ${field}`, message));
}
