/** Everything of a definition that Kubernetes could not run as kolla would. */
import { type CodedError, DNS_LABEL, nearest } from 'cdk8s-baremetal-contract';
import { KOLLA_REFUSED_VARIABLES } from 'cdk8s-baremetal-contract/launch/index';
import { holdsSecret } from './config-directory.ts';
import { checkKeys, type KollaDefinition, serviceName } from './definition.ts';
import { checkDimensions } from './dimensions.ts';
import { kollaErrors } from './errors.ts';
import { checkHealthcheck } from './healthcheck.ts';
import { parseTmpfs } from './tmpfs.ts';
import { parseVolume } from './volume-string.ts';

const PINNED_IMAGE = /^[^\s@]+(?:@sha256:[0-9a-f]{64}|:(?!latest$)[\w][\w.-]{0,127})$/;
const LABEL_VALUE = /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;
const LABEL_KEY = /^(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const CAPABILITY = /^(?:CAP_)?[A-Z_]+$/;
/** One word each, however engines spell it ("label:disable", "label=disable"). */
const SECURITY_OPTIONS = ['seccomp=unconfined', 'label=disable', 'no-new-privileges', 'no-new-privileges=true'];

/** @param namedVolumes - the names that something says the place of */
export function checkDefinition(definition: KollaDefinition, namedVolumes: readonly string[], at: string): CodedError[] {
  const keys = checkKeys({ ...definition }, at);
  if (keys.length > 0) return keys;
  const wrong = (key: string, value: unknown, rule: string): CodedError =>
    kollaErrors.KOLLA_VALUE({ at: `${at}.${key}`, value: JSON.stringify(value), rule });
  const noField = (key: string, what: string, cure: string): CodedError =>
    kollaErrors.KOLLA_NO_SUCH_FIELD({ at: `${at}.${key}`, what, cure });
  const { container_name, group, image, healthcheck, dimensions, privileged = false } = definition;
  const problems: CodedError[] = [];
  if (!DNS_LABEL.test(serviceName(definition)))
    problems.push(wrong('container_name', container_name, 'must be lower-case letters, digits, "_" and "-", at most 63'));
  if (!LABEL_VALUE.test(group) || group.length > 50)
    problems.push(wrong('group', group, 'must be the value of a label, at most 50 characters'));
  if (!PINNED_IMAGE.test(image))
    problems.push(wrong('image', image, 'must have a tag other than latest, or a digest: another image must be another name'));
  problems.push(...checkVolumes(definition, namedVolumes, at));
  for (const [name, value] of Object.entries(definition.environment ?? {})) {
    const place = `${at}.environment.${name}`;
    if (KOLLA_REFUSED_VARIABLES.includes(name)) problems.push(kollaErrors.KOLLA_VARIABLE_REFUSED({ at, variable: name }));
    else if (!/^[-._a-zA-Z][-._a-zA-Z0-9]*$/.test(name)) problems.push(wrong('environment', name, 'must be the name of a variable'));
    else if (holdsSecret(String(value), name)) problems.push(kollaErrors.KOLLA_SECRET_AS_VALUE({ at: place }));
  }
  if (dimensions) problems.push(...checkDimensions({ ...dimensions }, at));
  if (healthcheck) problems.push(...checkHealthcheck(healthcheck, at));
  for (const capability of definition.cap_add ?? [])
    if (!CAPABILITY.test(capability)) problems.push(wrong('cap_add', capability, 'must be the name of a capability, such as NET_ADMIN'));
  for (const option of definition.security_opt ?? []) {
    if (!SECURITY_OPTIONS.includes(option.replace(':', '=')))
      problems.push(noField('security_opt', `"${option}"`, `Use one of ${SECURITY_OPTIONS.join(', ')}`));
  }
  for (const [key, value] of [
    ['ipc_mode', definition.ipc_mode],
    ['pid_mode', definition.pid_mode],
  ] as const) {
    if (value === undefined || value === 'host' || value === 'private') continue;
    if (key === 'ipc_mode' && value === 'shareable') continue; // containers of one pod share it always
    problems.push(noField(key, `${key} "${value}"`, 'Use host, or leave it out'));
  }
  const { cgroupns_mode } = definition;
  if (cgroupns_mode !== undefined && cgroupns_mode !== 'private' && !(cgroupns_mode === 'host' && privileged))
    problems.push(
      noField(
        'cgroupns_mode',
        `cgroupns_mode "${cgroupns_mode}"`,
        "Leave it out: the runtime decides, and mounts the host's /sys/fs/cgroup where volumes say so",
      ),
    );
  if ((definition.volumes_from ?? []).length > 0)
    problems.push(
      noField('volumes_from', `the volumes of ${definition.volumes_from?.join(', ')}`, 'Name the same volumes in both definitions'),
    );
  for (const [key, value] of Object.entries(definition.labels ?? {}))
    if (!LABEL_KEY.test(key) || !LABEL_VALUE.test(String(value)))
      problems.push(wrong(`labels.${key}`, value, 'must be a label as Kubernetes takes it'));
  return problems;
}

function checkVolumes(definition: KollaDefinition, namedVolumes: readonly string[], at: string): CodedError[] {
  const problems: CodedError[] = [];
  const targets = new Map<string, string>();
  const claim = (target: string, place: string): void => {
    const other = targets.get(target);
    if (other !== undefined)
      problems.push(kollaErrors.KOLLA_VALUE({ at: place, value: `"${target}"`, rule: `is already the target of ${other}` }));
    targets.set(target, place);
  };
  for (const [index, text] of (definition.volumes ?? []).entries()) {
    const place = `${at}.volumes[${index}]`;
    if (text === '') continue;
    const volume = parseVolume(text);
    if (!volume) {
      problems.push(
        kollaErrors.KOLLA_VALUE({ at: place, value: JSON.stringify(text), rule: 'must be "source:target[:mode]" with an absolute target' }),
      );
      continue;
    }
    claim(volume.target, place);
    if (volume.kind === 'named' && !namedVolumes.includes(volume.source))
      problems.push(kollaErrors.KOLLA_VOLUME_UNKNOWN({ at: place, volume: volume.source, nearest: nearest(volume.source, namedVolumes) }));
    if (volume.propagation === 'Bidirectional' && definition.privileged !== true)
      problems.push(
        kollaErrors.KOLLA_VALUE({
          at: place,
          value: JSON.stringify(text),
          rule: 'shares mounts with the host, which only a privileged container may',
        }),
      );
  }
  for (const [index, text] of (definition.tmpfs ?? []).entries()) {
    const place = `${at}.tmpfs[${index}]`;
    if (text === '') continue;
    const tmpfs = parseTmpfs(text);
    if (tmpfs) claim(tmpfs.path, place);
    else problems.push(kollaErrors.KOLLA_VALUE({ at: place, value: JSON.stringify(text), rule: 'must be "/path" or "/path:size=64m"' }));
  }
  return problems;
}
