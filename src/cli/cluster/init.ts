/** bmctl cluster init: a Kubernetes on this machine, by kubeadm. */
import { clusterErrors } from './errors.ts';
import { type InitFlags, isHighlyAvailable, kubeadmConfig, LEAST_KUBERNETES } from './kubeadm-config.ts';

/** The machine that init works on. */
export interface InitHost {
  /** The path of a program; undefined when it is not there. */
  findProgram(name: string): string | undefined;
  /** What a program prints; rejects when it fails. */
  outputOf(program: string, args: readonly string[]): Promise<string>;
  /** Runs a program with its output on this terminal; its exit code. */
  run(program: string, args: readonly string[]): Promise<number>;
  /** undefined when it is not there. */
  readFile(path: string): string | undefined;
  /** Writes a file that only this account may read; its path. */
  writePrivateFile(name: string, content: string): string;
  readonly uid: number;
}

export interface InitOptions extends InitFlags {
  /** Prints the configuration and what would be run; runs and writes nothing. */
  readonly dryRun?: boolean;
  /** Passed on to kubeadm; `all` also lets our own checks pass. */
  readonly ignorePreflightErrors?: readonly string[];
}

const ADMIN_CONFIG = '/etc/kubernetes/admin.conf';
const CONFIG_FILE = 'kubeadm.yaml';

const NEXT = `Next:
  export KUBECONFIG=${ADMIN_CONFIG}
  install a pod network (Calico, Cilium, …) and, for claims of the class local-path, a provisioner for it
  bmctl bundle | kubectl apply -f -
  bmctl cluster create --version VERSION --mysql-host HOST --mysql-password-file FILE --wait`;

/** @throws CodedError CLUSTER_INIT_FLAG, CLUSTER_INIT_PREFLIGHT, CLUSTER_INIT_FAILED */
export async function initKubernetes(
  { print, progress }: { readonly print: (text: string) => void; readonly progress: (text: string) => void },
  host: InitHost,
  options: InitOptions,
): Promise<void> {
  const config = kubeadmConfig(options);
  const { ignorePreflightErrors = [] } = options;
  const args = (file: string): string[] => [
    'init',
    '--config',
    file,
    ...(isHighlyAvailable(options) ? ['--upload-certs'] : []),
    ...(ignorePreflightErrors.length > 0 ? [`--ignore-preflight-errors=${ignorePreflightErrors.join(',')}`] : []),
  ];
  if (options.dryRun) {
    print(`${config}\n# kubeadm ${args(CONFIG_FILE).join(' ')}`);
    return;
  }
  if (host.readFile(ADMIN_CONFIG) !== undefined) {
    print(`${ADMIN_CONFIG} is there: this machine is a control plane already`);
    return;
  }
  const { kubeadm, problems } = await preflight(host);
  if (kubeadm === undefined || (problems.length > 0 && !ignorePreflightErrors.includes('all'))) {
    throw clusterErrors.CLUSTER_INIT_PREFLIGHT({ problems });
  }
  for (const problem of problems) progress(`ignored: ${problem}`);
  const file = host.writePrivateFile(CONFIG_FILE, config);
  progress(`kubeadm ${args(file).join(' ')}`);
  const code = await host.run(kubeadm, args(file));
  if (code !== 0) throw clusterErrors.CLUSTER_INIT_FAILED({ code });
  print(NEXT);
}

/** What kubeadm's own checks cannot say, or say late. */
async function preflight(host: InitHost): Promise<{ readonly kubeadm: string | undefined; readonly problems: readonly string[] }> {
  const problems: string[] = [];
  if (host.uid !== 0) problems.push('kubeadm needs root');
  const kubeadm = host.findProgram('kubeadm');
  if (kubeadm === undefined) problems.push('kubeadm is not installed (pkgs.k8s.io has it for Debian and Red Hat)');
  else {
    const version = await host.outputOf(kubeadm, ['version', '-o', 'short']).catch(() => '');
    const match = /^v(\d+)\.(\d+)/.exec(version.trim());
    const minor = Number(match?.[2] ?? Number.NaN);
    if (!match) problems.push('kubeadm does not tell its version');
    else if (Number(match[1]) === LEAST_KUBERNETES[0] && minor < LEAST_KUBERNETES[1])
      problems.push(`kubeadm is ${version.trim()}; its configuration v1beta4 needs v${LEAST_KUBERNETES.join('.')} or later`);
  }
  if (host.findProgram('kubelet') === undefined) problems.push('kubelet is not installed');
  const swaps = (host.readFile('/proc/swaps') ?? '').trim().split('\n').slice(1);
  if (swaps.length > 0)
    problems.push(`swap is on (${swaps.map((line) => line.split(/\s+/)[0]).join(', ')}): swapoff -a, and remove it from /etc/fstab`);
  const forwards = host.readFile('/proc/sys/net/ipv4/ip_forward')?.trim();
  if (forwards === '0') problems.push('packets are not forwarded: sysctl -w net.ipv4.ip_forward=1');
  return { kubeadm, problems };
}
