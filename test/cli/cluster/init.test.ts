import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { type InitHost, type InitOptions, initKubernetes } from '../../../src/cli/cluster/init.ts';
import { kubeadmConfig } from '../../../src/cli/cluster/kubeadm-config.ts';
import { refusal } from './world.ts';

interface Machine extends InitHost {
  readonly ran: string[];
  readonly files: Map<string, string>;
}

function machine({
  version = 'v1.33.1',
  uid = 0,
  files = {},
  missing = [],
  code = 0,
}: {
  version?: string;
  uid?: number;
  files?: Record<string, string>;
  missing?: string[];
  code?: number;
} = {}): Machine {
  const ran: string[] = [];
  const written = new Map(Object.entries(files));
  return {
    uid,
    ran,
    files: written,
    findProgram: (name) => (missing.includes(name) ? undefined : `/usr/bin/${name}`),
    outputOf: async (program, args) => {
      ran.push(`${program} ${args.join(' ')}`);
      return `${version}\n`;
    },
    run: async (program, args) => {
      ran.push(`${program} ${args.join(' ')}`);
      return code;
    },
    readFile: (path) => written.get(path),
    writePrivateFile: (name, content) => {
      written.set(`/tmp/x/${name}`, content);
      return `/tmp/x/${name}`;
    },
  };
}

async function init(host: Machine, options: InitOptions = {}): Promise<{ printed: string; progress: string }> {
  const [printed, progress]: [string[], string[]] = [[], []];
  await initKubernetes({ print: (text) => void printed.push(text), progress: (text) => void progress.push(text) }, host, options);
  return { printed: printed.join('\n'), progress: progress.join('\n') };
}

// biome-ignore lint/suspicious/noExplicitAny: tests read deep into it
const documents = (text: string): any[] => [parseAllDocuments(text)].flat().map((document) => document.toJS());

describe('004-10: cluster init', () => {
  it('prints the configuration on a dry run, and touches nothing', async () => {
    const host = machine({ uid: 1000, missing: ['kubeadm', 'kubelet'] });
    const { printed } = await init(host, { dryRun: true, nodeIp: '10.0.0.5' });
    expect(documents(printed).map(({ kind }) => kind)).toEqual(['InitConfiguration', 'ClusterConfiguration', 'KubeletConfiguration']);
    expect(printed).toContain('# kubeadm init --config kubeadm.yaml');
    expect([host.ran, [...host.files]]).toEqual([[], []]);
  });

  it('runs kubeadm with what it printed', async () => {
    const host = machine();
    const { printed, progress } = await init(host, { highAvailabilityVip: '10.0.0.9', ignorePreflightErrors: ['NumCPU', 'Mem'] });
    expect(host.ran).toEqual([
      '/usr/bin/kubeadm version -o short',
      '/usr/bin/kubeadm init --config /tmp/x/kubeadm.yaml --upload-certs --ignore-preflight-errors=NumCPU,Mem',
    ]);
    expect(progress).toContain('kubeadm init');
    expect(printed).toContain('bmctl bundle | kubectl apply -f -');
    expect(host.files.get('/tmp/x/kubeadm.yaml')).toBe(kubeadmConfig({ highAvailabilityVip: '10.0.0.9' }));
  });

  it("turns the original's flags into today's fields", () => {
    const [first, second] = documents(
      kubeadmConfig({
        kubernetesVersion: 'v1.33.1',
        nodeIp: '10.0.0.5',
        hostName: 'node-1',
        highAvailabilityVip: '10.0.0.9',
        nodeCidrMaskSize: 25,
        imageRepository: 'registry.example.net/k8s',
        enableHostAgent: true,
        baremetalNode: true,
      }),
    );
    expect(first).toEqual({
      apiVersion: 'kubeadm.k8s.io/v1beta4',
      kind: 'InitConfiguration',
      localAPIEndpoint: { advertiseAddress: '10.0.0.5', bindPort: 6443 },
      nodeRegistration: {
        name: 'node-1',
        kubeletExtraArgs: [
          {
            name: 'node-labels',
            value: 'onecloud.yunion.io/controller=enable,onecloud.yunion.io/host=enable,onecloud.yunion.io/baremetal=enable',
          },
          { name: 'node-ip', value: '10.0.0.5' },
        ],
      },
    });
    expect(second).toEqual({
      apiVersion: 'kubeadm.k8s.io/v1beta4',
      kind: 'ClusterConfiguration',
      kubernetesVersion: 'v1.33.1',
      controlPlaneEndpoint: '10.0.0.9:6443',
      imageRepository: 'registry.example.net/k8s',
      networking: { podSubnet: '10.40.0.0/16', serviceSubnet: '10.96.0.0/12' },
      apiServer: { certSANs: ['10.0.0.9'] },
      controllerManager: { extraArgs: [{ name: 'node-cidr-mask-size', value: '25' }] },
    });
  });

  it('leaves a control plane alone that is there', async () => {
    const host = machine({ files: { '/etc/kubernetes/admin.conf': 'x' } });
    expect((await init(host)).printed).toContain('is a control plane already');
    expect(host.ran).toEqual([]);
  });

  it.each<[string, Parameters<typeof machine>[0], RegExp]>([
    ['no kubeadm', { missing: ['kubeadm'] }, /kubeadm is not installed/],
    ['no kubelet', { missing: ['kubelet'] }, /kubelet is not installed/],
    ['not root', { uid: 1000 }, /needs root/],
    ['too old a kubeadm', { version: 'v1.30.9' }, /kubeadm is v1\.30\.9.*v1beta4/],
    ['swap', { files: { '/proc/swaps': 'Filename Type\n/dev/sda2 partition 1 0 -2\n' } }, /swap is on \(\/dev\/sda2\)/],
    ['no forwarding', { files: { '/proc/sys/net/ipv4/ip_forward': '0\n' } }, /not forwarded/],
  ])('does not begin with %s', async (_, faults, told) => {
    const host = machine(faults);
    const error = await refusal(init(host));
    expect(error.code).toBe('CLUSTER_INIT_PREFLIGHT');
    expect(error.message).toMatch(told);
    expect(host.ran.filter((line) => line.includes(' init '))).toEqual([]);
  });

  it('goes on over its own checks when it is told to, and tells how kubeadm ended', async () => {
    const host = machine({ uid: 1000, code: 2 });
    expect((await refusal(init(host, { ignorePreflightErrors: ['all'] }))).code).toBe('CLUSTER_INIT_FAILED');
    expect(host.ran.at(-1)).toContain('--ignore-preflight-errors=all');
  });

  it.each<[string, InitOptions]>([
    ['--node-ip', { nodeIp: 'node' }],
    ['--node-ip', { nodeIp: '10.0.0.300' }],
    ['--host-name', { hostName: 'Node_1' }],
    ['--kubernetes-version', { kubernetesVersion: 'v1.30.0' }],
    ['--kubernetes-version', { kubernetesVersion: 'latest' }],
    ['--control-plane-endpoint', { controlPlaneEndpoint: 'lb:99999' }],
    ['--pod-network-cidr', { podNetworkCidr: '10.0.0.0/33' }],
    ['--service-cidr', { serviceCidr: '10.0.0.0' }],
    ['--node-cidr-mask-size', { nodeCidrMaskSize: 16 }],
    ['--node-cidr-mask-size', { nodeCidrMaskSize: 24, podNetworkCidr: '10.0.0.0/24' }],
  ])('names a wrong flag: %s %j', async (flag, options) => {
    const error = await refusal(init(machine(), { ...options, dryRun: true }));
    expect(error.code).toBe('CLUSTER_INIT_FLAG');
    expect(error.message).toContain(flag);
  });
});
