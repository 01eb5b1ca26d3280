import { annotation, type ImageSpec } from 'cdk8s-baremetal-contract';
import { k8s } from 'cdk8s-plus-28';
import { Construct } from 'constructs';
import { checksum } from '../checksum.ts';
import { imageReference, pullPolicy } from '../image.ts';
import { LOKI_PORT, LOKI_RING_PORT, lokiConfig } from './loki-config.ts';
import { restricted } from './security.ts';

export interface LokiProps {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly image: ImageSpec;
  /** Size of its volume. */
  readonly storage: string;
  readonly storageClassName?: string;
  readonly retentionDays: number;
}

/** The user of the official image. */
const USER = 10001;

/** One Loki that does everything, on a volume of its own: enough for the logs of some dozen nodes, and nothing else to run. */
export class Loki extends Construct {
  constructor(scope: Construct, id: string, { name, labels, image, storage, storageClassName, retentionDays }: LokiProps) {
    super(scope, id);
    const data = { 'loki.yaml': lokiConfig({ retentionDays }) };
    new k8s.KubeConfigMap(this, 'config', { metadata: { name, labels }, data });
    new k8s.KubeService(this, 'service', {
      metadata: { name, labels },
      spec: { selector: { ...labels }, ports: [{ name: 'http', port: LOKI_PORT, targetPort: k8s.IntOrString.fromString('http') }] },
    });
    new k8s.KubeStatefulSet(this, 'Resource', {
      metadata: { name, labels },
      spec: {
        serviceName: name,
        replicas: 1, // its files belong to one process
        selector: { matchLabels: { ...labels } },
        template: {
          metadata: { labels, annotations: { [annotation.configChecksum]: checksum([data]) } },
          spec: {
            automountServiceAccountToken: false,
            enableServiceLinks: false,
            terminationGracePeriodSeconds: 300, // what is in memory goes to the volume
            securityContext: {
              runAsUser: USER,
              runAsGroup: USER,
              runAsNonRoot: true,
              fsGroup: USER,
              seccompProfile: { type: 'RuntimeDefault' },
            },
            containers: [
              {
                name: 'loki',
                image: imageReference(image),
                imagePullPolicy: pullPolicy(image),
                args: ['-config.file=/etc/loki/loki.yaml', '-target=all'],
                ports: [
                  { name: 'http', containerPort: LOKI_PORT },
                  { name: 'grpc', containerPort: LOKI_RING_PORT },
                ],
                resources: {
                  requests: { cpu: k8s.Quantity.fromString('100m'), memory: k8s.Quantity.fromString('256Mi') },
                  limits: { memory: k8s.Quantity.fromString('2Gi') },
                },
                // it reads its write-ahead log before it is ready, which may take minutes
                startupProbe: { ...probe(), periodSeconds: 10, failureThreshold: 60 },
                readinessProbe: { ...probe(), periodSeconds: 10 },
                livenessProbe: { tcpSocket: { port: k8s.IntOrString.fromString('http') }, periodSeconds: 20, failureThreshold: 6 },
                securityContext: restricted(),
                volumeMounts: [
                  { name: 'config', mountPath: '/etc/loki', readOnly: true },
                  { name: 'data', mountPath: '/loki' },
                  { name: 'tmp', mountPath: '/tmp' },
                ],
              },
            ],
            volumes: [
              { name: 'config', configMap: { name } },
              { name: 'tmp', emptyDir: {} },
            ],
          },
        },
        volumeClaimTemplates: [
          {
            metadata: { name: 'data', labels },
            spec: {
              accessModes: ['ReadWriteOnce'],
              ...(storageClassName !== undefined && { storageClassName }),
              resources: { requests: { storage: k8s.Quantity.fromString(storage) } },
            },
          },
        ],
      },
    });
  }
}

function probe() {
  return { httpGet: { path: '/ready', port: k8s.IntOrString.fromString('http') }, timeoutSeconds: 3 };
}
