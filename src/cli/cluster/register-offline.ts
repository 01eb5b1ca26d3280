/** Commands about clusters that need none: `bmctl cluster validate`, `bmctl cluster init` and `bmctl bundle`. */
import type { Command } from 'commander';
import type { BundleOptions } from './bundle.ts';
import { list, number, requestRate } from './flags.ts';
import { ending, print, progress, readStdin } from './with-cluster.ts';

export function registerValidate(program: Command, cluster: Command): void {
  cluster
    .command('validate')
    .description('what is wrong with clusters in files, with line and column')
    .argument('<file...>', 'YAML files; - is standard input')
    .action(async (files: readonly string[]) => {
      const { validateFiles } = await import('./validate.ts');
      await ending(async () => validateFiles(files, { print, asJson: program.opts<{ json?: boolean }>().json === true, readStdin }));
    });
}

export function registerInit(cluster: Command): void {
  cluster
    .command('init')
    .description('a Kubernetes on this machine by kubeadm')
    .option('--dry-run', "print kubeadm's configuration and run nothing")
    .option('--kubernetes-version <version>', 'e.g. v1.33.1')
    .option('--node-ip <address>', 'of this node')
    .option('--host-name <name>', 'of this node')
    .option('--control-plane-endpoint <host[:port]>', 'of the load balancer in front of several control planes')
    .option('--high-availability-vip <address>', 'that moves between control planes (keepalived or kube-vip of yours)')
    .option('--pod-network-cidr <network>', 'of the pods')
    .option('--service-cidr <network>', 'of the Services')
    .option('--node-cidr-mask-size <bits>', 'of each node’s part of the pod network', number)
    .option('--image-repository <repository>', "of Kubernetes' own images")
    .option('--apiserver-cert-extra-sans <names>', 'further names in the certificate, by commas', list)
    .option('--enable-host-agent', 'label this node for virtual machines')
    .option('--baremetal-node', 'label this node for the bare-metal agent')
    .option('--ignore-preflight-errors <checks>', 'passed to kubeadm, by commas', list)
    .action(async (flags: import('./init.ts').InitOptions) => {
      const [{ initKubernetes }, { nodeInitHost }] = await Promise.all([import('./init.ts'), import('./node-init-host.ts')]);
      await ending(() => initKubernetes({ print, progress }, nodeInitHost, flags));
    });
}

export function registerBundle(program: Command): void {
  program
    .command('bundle')
    .description('the manifests that install the operator, for kubectl apply -f -')
    .option('-n, --namespace <namespace>', 'that the operator runs in')
    .option('--image <image>', 'of the operator')
    .option('--replicas <number>', 'of it; one leads', number)
    .option('--watch-namespaces <names>', 'only these, by commas: it then has no rights in others', list)
    .option('--image-pull-secrets <names>', 'by commas', list)
    .option('--requests-per-second <number>', 'at the API server, 10 or more', requestRate)
    .option('--no-validation-rules', 'for Kubernetes before 1.25: the kind without its rules in CEL')
    .action(async (flags: BundleOptions) => {
      const { bundleYaml } = await import('./bundle.ts');
      process.stdout.write(bundleYaml(flags));
    });
}
