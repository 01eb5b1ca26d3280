/** What manifests say and what the daemon reads must be the same thing: each side is fed to the other. */
import { bmsCoreConfig, CONTRACT_VERSION, path } from 'cdk8s-baremetal-contract';
import { describe, expect, it } from 'vitest';
import { seedSite } from '../support/seed-site.ts';
import { type AnyManifest, synthSite } from '../support/synth.ts';

interface Mounted {
  readonly manifests: readonly AnyManifest[];
  readonly workload: AnyManifest;
}

function workloads(manifests: readonly AnyManifest[]): Mounted[] {
  return manifests
    .filter(({ kind, metadata }) => kind === 'DaemonSet' && metadata.name.startsWith('bms-core'))
    .map((workload) => ({ manifests, workload }));
}

const ensemble = { form: 'ensemble' as const, hosts: ['a', 'b', 'c'] };
const sites = {
  'a DaemonSet per pod': synthSite(seedSite()),
  "the original's form": synthSite({ ...seedSite(), bmsCore: { form: 'seed' } }),
  'with an ensemble': synthSite({ ...seedSite(), zookeeper: ensemble }),
  "with the host's folder": synthSite({ ...seedSite(), bmsCore: { tftpboot: 'host' } }),
};

describe.each(Object.entries(sites))('%s', (_, manifests) => {
  const configs = manifests.filter(({ kind }) => kind === 'ConfigMap').map(({ data }) => bmsCoreConfig.parse(data.config));

  it('every ConfigMap is a configuration that bms-core takes, and its port is the one that is served and probed', () => {
    expect(configs.length).toBeGreaterThan(0);
    for (const { workload } of workloads(manifests)) {
      const [container] = workload.spec.template.spec.containers;
      expect(configs.map((config) => config.DEFAULT.server_port)).toContain(container.ports[0].containerPort);
      expect(container.readinessProbe.httpGet.port).toBe(container.ports[0].name);
    }
  });

  it('the file that the command names is where a volume puts it', () => {
    for (const { workload } of workloads(manifests)) {
      const [container] = workload.spec.template.spec.containers;
      expect(container.command.slice(-2)).toEqual(['--config', path.configFile]);
      expect(container.volumeMounts.map(({ mountPath }: { mountPath: string }) => mountPath)).toContain(path.configDirectory);
    }
  });

  it('every folder that the configuration writes to or reads from is a volume', () => {
    for (const { workload } of workloads(manifests)) {
      const { containers } = workload.spec.template.spec;
      const mounts: string[] = containers[0].volumeMounts.map(({ mountPath }: { mountPath: string }) => mountPath);
      const writable = containers[0].securityContext.readOnlyRootFilesystem !== true;
      for (const config of configs) {
        const folders = [
          config.pxe.tftpboot_dir,
          config.DEFAULT.pidfile,
          config.store.url.replace(/^sqlite:\/+/, '/'),
          config.image_cache.dir,
        ];
        const uncovered = folders.filter((folder) => !mounts.some((mount) => folder === mount || folder.startsWith(`${mount}/`)));
        expect(writable ? [] : uncovered).toEqual([]);
      }
    }
  });

  it('every volume that is mounted exists, and every object that a volume names is made or optional', () => {
    const made = manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    for (const { workload } of workloads(manifests)) {
      const { containers, initContainers = [], volumes } = workload.spec.template.spec;
      const names = volumes.map(({ name }: { name: string }) => name);
      for (const container of [...containers, ...initContainers])
        for (const { name } of container.volumeMounts) expect(names).toContain(name);
      for (const volume of volumes) {
        if (volume.configMap) expect(made).toContain(`ConfigMap ${volume.configMap.name}`);
        if (volume.persistentVolumeClaim) expect(made).toContain(`PersistentVolumeClaim ${volume.persistentVolumeClaim.claimName}`);
        for (const { secret } of volume.projected?.sources ?? []) if (secret) expect(secret.optional).toBe(true);
      }
      expect(made).toContain(`ServiceAccount ${workload.spec.template.spec.serviceAccountName}`);
    }
  });

  it('the workload is stamped with the version of the contract that the daemon compares', () => {
    for (const { workload } of workloads(manifests)) {
      expect(workload.metadata.annotations?.['baremetal.bms.io/contract-version']).toBe(CONTRACT_VERSION);
      expect(workload.spec.template.spec.containers[0].env).toContainEqual({ name: 'BMS_CONTRACT_VERSION', value: CONTRACT_VERSION });
    }
  });
});
