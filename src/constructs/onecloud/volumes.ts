/** What a component's pods mount, and where. */
import { basename } from 'node:path/posix';
import {
  certificatesSecretName,
  credentialsSecretOf,
  onecloudPath,
  renderProgram,
  rendersSecrets,
} from 'cdk8s-baremetal-contract/onecloud/index';
import { k8s } from 'cdk8s-plus-28';
import type { PodTemplateOptions } from './pod-template.ts';

export interface ComponentVolumes {
  readonly all: k8s.Volume[];
  /** What every container of the component sees beside its own configuration. */
  readonly certificates: k8s.VolumeMount[];
  readonly scratch: k8s.VolumeMount[];
  readonly storage: k8s.VolumeMount[];
  /** Folders of the node, by name. */
  readonly folders: ReadonlyMap<string, k8s.VolumeMount>;
  /** The configuration of the main container, or of a companion. */
  config(companion?: string): k8s.VolumeMount[];
  /** What the rendering init container sees. */
  readonly render: k8s.VolumeMount[];
}

const RENDERED = 'config';
const TEMPLATES = 'templates';

export function componentVolumes({ component, context, entries, objectName }: PodTemplateOptions): ComponentVolumes {
  const { row, storage } = component;
  const rendered = rendersSecrets(component.row);
  const credentials = credentialsSecretOf(context.name, row);
  const items = entries.map(({ key, path }) => ({ key, path: basename(path) }));
  const folders = row.host?.folders ?? [];
  const all: k8s.Volume[] = [
    ...(items.length > 0 ? [{ name: TEMPLATES, configMap: { name: objectName, items } }] : []),
    ...(rendered
      ? [
          { name: 'secrets', secret: { secretName: credentials, defaultMode: 0o440 } },
          // in memory: passwords never reach the node's disk
          { name: RENDERED, emptyDir: { medium: 'Memory', sizeLimit: k8s.Quantity.fromString('1Mi') } },
        ]
      : []),
    {
      name: 'certs',
      secret: {
        secretName: certificatesSecretName(context.name),
        defaultMode: 0o440,
        items: ['ca.crt', 'service.crt', 'service.key'].map((key) => ({ key, path: key })),
      },
    },
    ...(row.scratch ?? []).map(({ name }) => ({ name, emptyDir: {} })),
    ...(storage ? [{ name: 'data', persistentVolumeClaim: { claimName: objectName } }] : []),
    ...folders.map(({ name, path, type }) => ({ name, hostPath: { path, ...(type && { type }) } })),
  ];
  return {
    all,
    certificates: [{ name: 'certs', mountPath: onecloudPath.certificates, readOnly: true }],
    scratch: (row.scratch ?? []).map(({ name, mountPath }) => ({ name, mountPath })),
    storage: storage && row.storage ? [{ name: 'data', mountPath: row.storage.mountPath }] : [],
    folders: new Map(
      folders.map(({ name, path, mountPath = path, readOnly, propagation }) => [
        name,
        { name, mountPath, ...(readOnly && { readOnly }), ...(propagation && { mountPropagation: propagation }) },
      ]),
    ),
    // file by file: a whole folder at /etc/yunion would hide what else is mounted there
    config: (companion) =>
      entries
        .filter((entry) => entry.companion === companion)
        .map(({ path }) => ({ name: rendered ? RENDERED : TEMPLATES, mountPath: path, subPath: basename(path), readOnly: true })),
    render: [
      { name: TEMPLATES, mountPath: renderProgram.templates, readOnly: true },
      { name: 'secrets', mountPath: renderProgram.secrets, readOnly: true },
      { name: RENDERED, mountPath: renderProgram.output },
    ],
  };
}
