/** What Grafana Alloy does on each node: it reads the containers' log files and sends them to Loki. */

export const ALLOY_PORT = 12345;
/** Where the kubelet keeps the log of every container, as symbolic links or as the files themselves. */
export const POD_LOGS = '/var/log/pods';
export const NODE_NAME_VARIABLE = 'NODE_NAME';

export interface AlloyConfigOptions {
  /** Where Loki takes lines: http://loki:3100/loki/api/v1/push. */
  readonly lokiUrl: string;
  /** Only the logs of these. @default - all */
  readonly namespaces?: readonly string[];
  /** Containers are Docker's own, whose log files lie elsewhere and are linked to, each line a JSON object. containerd and CRI-O have neither. */
  readonly dockerLogs: boolean;
}

/** Labels of a pod → labels of its streams. Few values each: every combination is a stream of its own. */
const STREAM_LABELS: readonly (readonly [source: string, label: string])[] = [
  ['__meta_kubernetes_namespace', 'namespace'],
  ['__meta_kubernetes_pod_name', 'pod'],
  ['__meta_kubernetes_pod_container_name', 'container'],
  ['__meta_kubernetes_pod_node_name', 'node'],
];

export function alloyConfig({ lokiUrl, namespaces = [], dockerLogs }: AlloyConfigOptions): string {
  const keep =
    namespaces.length === 0
      ? []
      : [rule(['action = "keep"', 'source_labels = ["__meta_kubernetes_namespace"]', `regex = ${text(namespaces.join('|'))}`])];
  const rules = [
    ...keep,
    ...STREAM_LABELS.map(([source, label]) => rule([`source_labels = [${text(source)}]`, `target_label = ${text(label)}`])),
    // what the service is called, by the labels that people use, the best known last
    ...['app', 'app_kubernetes_io_name', 'app_kubernetes_io_component'].map((name) =>
      rule([`source_labels = [${text(`__meta_kubernetes_pod_label_${name}`)}]`, 'regex = "(.+)"', 'target_label = "component"']),
    ),
    // NAMESPACE_POD_UID/CONTAINER/RESTARTS.log; a pod that the kubelet starts from a file has another UID at the API server, and this one in an annotation
    ...['__meta_kubernetes_pod_uid', '__meta_kubernetes_pod_annotation_kubernetes_io_config_hash'].map((uid) =>
      rule([
        `source_labels = [${text(uid)}, "__meta_kubernetes_pod_container_name"]`,
        'separator = "/"',
        'regex = "([^/]+/.+)"', // not where the annotation is missing
        `replacement = ${text(`${POD_LOGS}/*$1/*.log`)}`,
        'target_label = "__path__"',
      ]),
    ),
  ];
  return `${[
    block('logging', ['level = "warn"', 'format = "json"']),
    // only this node's pods: each agent watches its own few
    block('discovery.kubernetes "pods"', [
      'role = "pod"',
      ...block('selectors', ['role = "pod"', `field = "spec.nodeName=" + sys.env(${text(NODE_NAME_VARIABLE)})`]),
    ]),
    block('discovery.relabel "pods"', ['targets = discovery.kubernetes.pods.targets', ...rules.flat()]),
    block('local.file_match "pods"', ['path_targets = discovery.relabel.pods.output']),
    block('loki.source.file "pods"', ['targets = local.file_match.pods.targets', 'forward_to = [loki.process.pods.receiver]']),
    block('loki.process "pods"', [
      dockerLogs ? 'stage.docker {}' : 'stage.cri {}',
      // the file's name repeats what the labels say, and would make a stream for each restart
      ...block('stage.label_drop', ['values = ["filename"]']),
      'forward_to = [loki.write.loki.receiver]',
    ]),
    block('loki.write "loki"', block('endpoint', [`url = ${text(lokiUrl)}`])),
  ]
    .map((lines) => lines.join('\n'))
    .join('\n\n')}\n`;
}

function rule(lines: readonly string[]): string[] {
  return block('rule', lines);
}

function block(name: string, lines: readonly string[]): string[] {
  return [`${name} {`, ...lines.map((line) => `  ${line}`), '}'];
}

/** Alloy's strings escape as JSON's do. */
function text(value: string): string {
  return JSON.stringify(value);
}
