import { JsonPatch, Lazy } from 'cdk8s';
import { PROVISIONING_VLAN, path } from 'cdk8s-baremetal-contract';
import { k8s } from 'cdk8s-plus-28';
import { Construct } from 'constructs';
import type { Pod } from './pod.ts';

/** `persistent-volume`: NFS mounted by the kubelet; `host`: the management node's own folder. */
export type TftpbootForm = 'persistent-volume' | 'host';

export interface TftpbootVolumeProps {
  readonly pod: Pod;
  /** Of the PersistentVolume and its claim. */
  readonly name: string;
  readonly form: TftpbootForm;
}

/**
 * /tftpboot of a pod. Behind vip1800 as in the original, but mounted by the kubelet, so that no container needs the right to
 * mount. Both management nodes export the folder: two exports that nobody synchronizes are not one file system, so images
 * live in each node's own cache and only templates belong here.
 */
export class TftpbootVolume extends Construct {
  private readonly name: string;
  private readonly form: TftpbootForm;

  constructor(scope: Construct, id: string, { pod, name, form }: TftpbootVolumeProps) {
    super(scope, id);
    this.name = name;
    this.form = form;
    if (form === 'host') return;
    // an inline nfs volume takes no mount options; a PersistentVolume does
    const volume = new k8s.KubePersistentVolume(this, 'volume', {
      metadata: { name },
      spec: Lazy.any({
        produce: (): k8s.PersistentVolumeSpec => ({
          accessModes: ['ReadWriteMany'],
          capacity: { storage: k8s.Quantity.fromString('100Gi') }, // NFS enforces none; the claim must ask for no more
          persistentVolumeReclaimPolicy: 'Retain',
          mountOptions: ['nolock', 'vers=3'],
          nfs: { server: pod.spec.vips[String(PROVISIONING_VLAN)] ?? '', path: path.tftpRoot },
          claimRef: { kind: 'PersistentVolumeClaim', namespace: pod.site.spec.namespace, name },
        }),
      }),
    });
    volume.addJsonPatch(JsonPatch.remove('/metadata/namespace')); // the chart's default; a PersistentVolume is in none
    new k8s.KubePersistentVolumeClaim(this, 'claim', {
      metadata: { name },
      spec: {
        accessModes: ['ReadWriteMany'],
        storageClassName: '', // absent would ask for the default class
        volumeName: name,
        resources: { requests: { storage: k8s.Quantity.fromString('100Gi') } },
      },
    });
  }

  volumes(): k8s.Volume[] {
    return this.form === 'host'
      ? [{ name: 'tftpboot', hostPath: { path: path.tftpRoot, type: 'DirectoryOrCreate' } }]
      : [{ name: 'tftpboot', persistentVolumeClaim: { claimName: this.name } }];
  }

  mounts(): k8s.VolumeMount[] {
    return [{ name: 'tftpboot', mountPath: path.tftpRoot }];
  }
}
