/**
 * Metal3's machines: BareMetalHost objects as `kubectl get bmh -A -o yaml` writes them, a List or single documents, already parsed. Secrets
 * beside them (`kubectl get bmh,secret -A`) give the users and passwords of the BMCs; others, and everything else, are passed over.
 */
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { z } from 'zod';
import { bmcOf, derivedUuid, type Import, type ImportedMachine, imageIdOf, recordedAs } from './imported-machine.ts';

const host = z.object({
  kind: z.literal('BareMetalHost'),
  metadata: z.object({
    name: z.string().min(1),
    namespace: z.string().optional(),
    uid: z.string().optional(),
    labels: z.record(z.string(), z.string()).optional(),
    annotations: z.record(z.string(), z.string()).optional(),
  }),
  spec: z.object({
    architecture: z.string().optional(),
    bmc: z.object({ address: z.string().default(''), credentialsName: z.string().default('') }).optional(),
    bootMACAddress: z.string().optional(),
    rootDeviceHints: z.object({ serialNumber: z.string().optional() }).loose().optional(),
    consumerRef: z.object({ name: z.string().optional() }).loose().optional(),
    image: z.object({ url: z.string().optional() }).loose().optional(),
    externallyProvisioned: z.boolean().optional(),
  }),
  status: z
    .object({
      provisioning: z
        .object({ state: z.string().optional(), image: z.object({ url: z.string().optional() }).loose().optional() })
        .loose()
        .optional(),
      hardware: z
        .object({
          cpu: z.object({ arch: z.string().optional(), count: z.number().optional() }).loose().optional(),
          ramMebibytes: z.number().optional(),
          hostname: z.string().optional(),
          nics: z.array(z.object({ mac: z.string().optional(), pxe: z.boolean().optional() }).loose()).optional(),
          storage: z.array(z.object({ sizeBytes: z.number().optional(), serialNumber: z.string().optional() }).loose()).optional(),
        })
        .loose()
        .optional(),
    })
    .loose()
    .optional(),
});
type Host = z.infer<typeof host>;

const text = z.string().optional();
const secret = z.object({
  kind: z.literal('Secret'),
  metadata: z.object({ name: z.string().min(1), namespace: text }),
  data: z.object({ username: text, password: text }).loose().nullish(),
  stringData: z.object({ username: text, password: text }).loose().nullish(),
});
interface Credentials {
  readonly username: string | undefined;
  readonly password: Secret | undefined;
}

const list = z.object({ kind: z.string().regex(/List$/), items: z.array(z.unknown()) });
const PAUSED = 'baremetalhost.metal3.io/paused';
const RACK_LABELS = ['topology.kubernetes.io/rack', 'infrastructure.cluster.x-k8s.io/failure-domain', 'topology.kubernetes.io/zone'];

export function fromMetal3(documents: readonly unknown[]): Import {
  const machines: ImportedMachine[] = [];
  const refused: { name: string; reason: string }[] = [];
  const objects = documents.flatMap((document) => {
    const parsed = list.safeParse(document);
    return parsed.success ? parsed.data.items : [document];
  });
  const credentials = new Map(objects.flatMap((object) => credentialsOf(object)));
  const names = new Map<string, number>();
  for (const object of objects) {
    const name = host.safeParse(object).data?.metadata.name;
    if (name !== undefined) names.set(name, (names.get(name) ?? 0) + 1);
  }
  for (const object of objects) {
    const kind = z.object({ kind: z.string(), metadata: z.object({ name: z.string() }) }).safeParse(object);
    if (!kind.success || kind.data.kind !== 'BareMetalHost') continue;
    const parsed = host.safeParse(object);
    const name = kind.data.metadata.name;
    const outcome = parsed.success
      ? machineOf(parsed.data, credentials, (names.get(name) ?? 0) > 1)
      : `"${parsed.error.issues[0]?.path.join('.') ?? ''}" is not as expected`;
    if (typeof outcome === 'string') refused.push({ name, reason: outcome });
    else machines.push(outcome);
  }
  return { machines, refused };
}

function machineOf(
  { metadata, spec, status }: Host,
  credentials: ReadonlyMap<string, Credentials>,
  namesake: boolean,
): ImportedMachine | string {
  const warnings: string[] = [];
  const namespace = metadata.namespace ?? 'default';
  const name = namesake ? `${namespace}.${metadata.name}` : metadata.name;
  if (namesake) warnings.push(`another namespace has a ${metadata.name}, too: this one is called ${name} here`);
  const hardware = status?.hardware;
  const bmc = spec.bmc?.address ? bmcOf(spec.bmc.address) : undefined;
  if (bmc === undefined) return spec.bmc?.address ? `"${spec.bmc.address}" is no address of a BMC that is known here` : 'it has no BMC';
  if (spec.bmc?.address.startsWith('libvirt')) warnings.push('a libvirt address is taken for IPMI, as virtualbmc serves it');
  const boot = spec.bootMACAddress?.toLowerCase();
  const nics = (hardware?.nics ?? []).toSorted((a, b) => Number(b.pxe ?? false) - Number(a.pxe ?? false));
  const found = nics.flatMap(({ mac }) => mac?.toLowerCase() ?? []);
  const macs = [...new Set([...(boot === undefined ? [] : [boot]), ...found])];
  if (macs.length === 0) return 'neither bootMACAddress nor an inspected interface tells a hardware address';
  const cpus = hardware?.cpu?.count;
  const memoryMb = hardware?.ramMebibytes;
  const serial = spec.rootDeviceHints?.serialNumber;
  const storage = hardware?.storage ?? [];
  const disk = serial === undefined ? storage[0] : storage.find(({ serialNumber }) => serialNumber === serial);
  if (!cpus || !memoryMb || !disk?.sizeBytes || disk.sizeBytes < 1e9) return 'it was not inspected there: its sizes are not known';
  if (serial === undefined && storage.length > 1)
    warnings.push(`it has ${storage.length} disks and no root device hint by serial number; name one before it is deployed`);
  const state = status?.provisioning?.state ?? '';
  const adopt = adoptOf(metadata, spec, status, state, warnings);
  if (adopt === undefined && !['available', 'ready', 'externally provisioned', 'provisioned', ''].includes(state)) {
    warnings.push(`it is "${state}" there; it is held at manageable here`);
  }
  const rack = RACK_LABELS.map((label) => metadata.labels?.[label]).find((value) => value !== undefined);
  const where = spec.bmc?.credentialsName ? `${namespace}/${spec.bmc.credentialsName}` : undefined;
  const known = where === undefined ? undefined : credentials.get(where);
  const paused = metadata.annotations?.[PAUSED];
  return {
    enrol: {
      ...(metadata.uid !== undefined && { uuid: metadata.uid }),
      name,
      macs,
      properties: {
        cpus,
        memoryMb,
        localGb: Math.floor(disk.sizeBytes / 1e9),
        cpuArch: hardware?.cpu?.arch ?? spec.architecture ?? 'x86_64',
        ...(rack !== undefined && { capabilities: { rack } }),
      },
      bmc: {
        ...recordedAs(bmc),
        username: known?.username ?? '',
      },
      ...(serial !== undefined && { rootDiskSerial: serial }),
      target: state === 'available' || state === 'ready' ? 'available' : 'manageable',
      ...(adopt && { adopt }),
    },
    ...(where !== undefined && { credentials: where }),
    ...(known?.password && { password: known.password }),
    ...(paused !== undefined && { maintenance: `paused in Metal3${paused === '' ? '' : ` by ${paused}`}` }),
    warnings,
  };
}

function adoptOf(
  metadata: Host['metadata'],
  spec: Host['spec'],
  status: Host['status'],
  state: string,
  warnings: string[],
): ImportedMachine['enrol']['adopt'] {
  const external = state === 'externally provisioned' || spec.externallyProvisioned === true;
  if (state !== 'provisioned' && !external) return undefined;
  const image = status?.provisioning?.image?.url ?? spec.image?.url ?? 'unknown';
  const imageId = imageIdOf(image);
  if (imageId !== image) warnings.push(`its image ${image} is called ${imageId} here`);
  return {
    uuid: metadata.uid ?? derivedUuid(`${metadata.namespace ?? 'default'}/${metadata.name}`),
    name: spec.consumerRef?.name ?? metadata.name,
    imageId,
  };
}

/** At most one entry. Values in `data` are base64; `stringData` is what a person writes, and wins as on a server. */
function credentialsOf(object: unknown): [string, Credentials][] {
  const parsed = secret.safeParse(object);
  if (!parsed.success) return [];
  const { metadata, data, stringData } = parsed.data;
  const value = (key: 'username' | 'password'): string | undefined => {
    const encoded = data?.[key];
    // editors and `echo` leave a line break, which no BMC has in a password
    const decoded =
      encoded === undefined
        ? undefined
        : Buffer.from(encoded, 'base64')
            .toString('utf8')
            .replace(/\r?\n$/, '');
    return stringData?.[key] ?? decoded;
  };
  const password = value('password');
  return [
    [
      `${metadata.namespace ?? 'default'}/${metadata.name}`,
      { username: value('username'), password: password === undefined ? undefined : new Secret(password) },
    ],
  ];
}
