/** What can be wrong with the definition of a kolla service, for whoever writes it. */
import { defineErrors, entry } from 'cdk8s-baremetal-contract';

const hint = (nearest: string | undefined): string => (nearest === undefined ? '' : ` (did you mean "${nearest}"?)`);

export const kollaErrors = defineErrors('Kolla services', {
  KOLLA_DEFAULTS_SYNTAX: entry<{ reason: string }>({
    message: ({ reason }) => `the service definitions do not parse: ${reason}`,
    cure: 'Correct the line; the file is read as YAML 1.2',
  }),
  KOLLA_SERVICE_UNKNOWN: entry<{ service: string; nearest: string | undefined; known: readonly string[] }>({
    message: ({ service, nearest }) => `no service "${service}" is defined${hint(nearest)}`,
    cure: ({ known }) => `Name one of ${known.join(', ') || '(none: a service is a mapping with container_name)'}`,
  }),
  KOLLA_VARIABLE_UNKNOWN: entry<{ at: string; variable: string; nearest: string | undefined }>({
    message: ({ at, variable, nearest }) => `${at} needs the variable "${variable}", which nobody gives${hint(nearest)}`,
    cure: ({ variable }) => `Give variables: { ${variable}: … }, or write {{ ${variable} | default(…) }}`,
  }),
  KOLLA_VARIABLE_CYCLE: entry<{ variables: readonly string[] }>({
    message: ({ variables }) => `the variables ${variables.join(' → ')} define each other`,
    cure: 'Give one of them a value',
  }),
  KOLLA_EXPRESSION: entry<{ at: string; expression: string }>({
    message: ({ at, expression }) => `${at} holds "${expression}", which is more than a variable with default(…) or bool`,
    cure: 'Work it out in the playbook or the app, and give the result as a variable of its own',
  }),
  KOLLA_KEY_UNKNOWN: entry<{ at: string; key: string; nearest: string | undefined; known: readonly string[] }>({
    message: ({ at, key, nearest }) => `${at} has the unknown key "${key}"${hint(nearest)}`,
    cure: ({ known }) => `Use one of ${known.join(', ')}`,
  }),
  KOLLA_KEY_MISSING: entry<{ at: string; key: string }>({
    message: ({ at, key }) => `${at} has no "${key}"`,
    cure: ({ key }) => `Add "${key}"`,
  }),
  KOLLA_VALUE: entry<{ at: string; value: string; rule: string }>({
    message: ({ at, value, rule }) => `${at} is ${value}: it ${rule}`,
    cure: 'Correct the value',
  }),
  KOLLA_NO_SUCH_FIELD: entry<{ at: string; what: string; cure: string }>({
    message: ({ at, what }) => `${at} asks for ${what}, for which Kubernetes has no field`,
    cure: ({ cure }) => cure,
  }),
  KOLLA_VOLUME_UNKNOWN: entry<{ at: string; volume: string; nearest: string | undefined }>({
    message: ({ at, volume, nearest }) => `${at} is the named volume "${volume}", and nothing says where it lies${hint(nearest)}`,
    cure: ({ volume }) => `Give namedVolumes: { ${volume}: { hostPath: '…' } }, or { claim: '…' }`,
  }),
  KOLLA_SOURCE_MISSING: entry<{ at: string; source: string; nearest: string | undefined }>({
    message: ({ at, source, nearest }) => `${at} copies ${source}, which is not among the files of the config directory${hint(nearest)}`,
    cure: 'Add it to files, or mark the entry optional',
  }),
  KOLLA_DEST_TOO_WIDE: entry<{ at: string; path: string; directory: string }>({
    message: ({ at, path, directory }) => `${at} is ${path}, so the init container and the service would have to share ${directory}`,
    cure: "Put it into a directory of the service's own, or use form: 'in-place'",
  }),
  KOLLA_PATH_NOT_SHARED: entry<{ at: string; path: string }>({
    message: ({ at, path }) => `${at} is ${path}, on no volume that the init container and the service share`,
    cure: 'Add a volume for it (in volumes, "/path" alone makes one that dies with the pod), or use form: \'in-place\'',
  }),
  KOLLA_SECRET_AS_VALUE: entry<{ at: string }>({
    message: ({ at }) => `${at} holds a secret as a value, which would be written to dist/ (value not shown)`,
    cure: 'Create a Secret in the cluster and refer to it: { secret, key }',
  }),
  KOLLA_VARIABLE_REFUSED: entry<{ at: string; variable: string }>({
    message: ({ at, variable }) => `${at} sets ${variable}, which lets a user of the container run code as root (CVE-2022-38060)`,
    cure: 'Give config and files: they are mounted read-only',
  }),
  KOLLA_LAYERS: entry<{ layer: string; problem: string }>({
    message: ({ layer, problem }) => `the image layer ${layer} ${problem}`,
    cure: 'Every layer starts FROM the one below it, and CMD stands in the lowest alone',
  }),
});
