/** Network settings of an instance, as the API takes them and the machine's record keeps them: nova's pxe_network_config and net_config_template. */
import { z } from 'zod';
import { isHostOf, parseIpv4, parseSubnet, suggestSubnet, unicastMac } from '../addresses.ts';

const mac = z
  .string()
  .max(32)
  .transform((text, context) => {
    const normal = unicastMac(text);
    if (normal !== undefined) return normal;
    context.addIssue({ code: 'custom', message: 'is no MAC address; write it as 52:54:00:12:34:56' });
    return z.NEVER;
  });

const ipv4 = z.strictObject({
  address: z.cidrv4().describe('With its prefix length, e.g. 10.0.0.5/24'),
  gateway: z.ipv4().optional().describe('Default router; of one interface only'),
});
const ipv6 = z.strictObject({ address: z.cidrv6().describe('e.g. fd00::5/64'), gateway: z.ipv6().optional() });

const networkInterface = z.strictObject({
  on: z
    .union([z.int().min(0).max(31), mac])
    .describe("Which of the machine's interfaces: 0 is the one that boots, 1 the next, or a MAC address"),
  ipv4: z
    .union([z.literal('dhcp'), ipv4])
    .optional()
    .describe('Default: none'),
  ipv6: z
    .union([z.literal('auto'), ipv6])
    .optional()
    .describe('auto: by router advertisements. Default: none'),
  dns: z
    .array(z.union([z.ipv4(), z.ipv6()]))
    .max(3)
    .optional()
    .describe('Name servers; resolvers read three'),
  mtu: z.int().min(576).max(9216).optional(),
});

export const instanceNetwork = z
  .strictObject({
    interfaces: z.array(networkInterface).min(1).max(32),
    search: z
      .array(
        z
          .string()
          .regex(/^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$/, 'must be a domain'),
      )
      .max(6)
      .optional()
      .describe('Domains in which short names are looked up'),
    onKernelCommandLine: z
      .boolean()
      .optional()
      .describe("Also as ip=… for the kernel of an image that boots over the network: nova's pxe_network_config. Default false"),
  })
  .superRefine(({ interfaces }, context) => {
    for (const { path, message } of faults(interfaces)) context.addIssue({ code: 'custom', path, message });
  });

export type InstanceNetwork = z.infer<typeof instanceNetwork>;

/** As it is stored: what a newer program has added to it stays as it is. */
export const storedNetwork = z.custom<InstanceNetwork>(
  (value) => z.looseObject({ interfaces: z.array(z.looseObject({ on: z.union([z.int(), z.string()]) })).min(1) }).safeParse(value).success,
  { error: 'is no network of an instance' },
);

interface Fault {
  readonly path: (string | number)[];
  readonly message: string;
}

/** What each field alone does not tell. */
function faults(interfaces: readonly z.infer<typeof networkInterface>[]): Fault[] {
  const found: Fault[] = [];
  const seen = new Map<string, number>();
  const once = (what: string, index: number, ...path: (string | number)[]): void => {
    const first = seen.get(what);
    if (first === undefined) seen.set(what, index);
    else found.push({ path: ['interfaces', index, ...path], message: `${what} is that of interfaces.${first}, too` });
  };
  interfaces.forEach(({ on, ipv4: four, ipv6: six }, index) => {
    once(typeof on === 'number' ? `interface ${on}` : `interface ${on}`, index, 'on');
    if (typeof four === 'object') {
      once(`address ${four.address.replace(/\/.*$/, '')}`, index, 'ipv4', 'address');
      if (four.gateway !== undefined) once('a default router for IPv4', index, 'ipv4', 'gateway');
      found.push(...v4Faults(four).map(({ path, message }) => ({ path: ['interfaces', index, 'ipv4', ...path], message })));
    }
    if (typeof six === 'object') {
      once(`address ${six.address.replace(/\/.*$/, '').toLowerCase()}`, index, 'ipv6', 'address');
      if (six.gateway !== undefined) once('a default router for IPv6', index, 'ipv6', 'gateway');
    }
  });
  return found;
}

function v4Faults({ address, gateway }: z.infer<typeof ipv4>): Fault[] {
  const [host = '', length = ''] = address.split('/');
  const value = parseIpv4(host);
  const network = parseSubnet(suggestSubnet(address) ?? '');
  if (value === undefined || network === undefined || length === '0')
    return [{ path: ['address'], message: 'must be an address with its prefix length' }];
  if (!isHostOf(value, network)) return [{ path: ['address'], message: `${host} is the network's own or its broadcast address` }];
  const router = gateway === undefined ? undefined : parseIpv4(gateway);
  if (router === undefined) return [];
  if (router === value) return [{ path: ['gateway'], message: 'is the address itself' }];
  return isHostOf(router, network) ? [] : [{ path: ['gateway'], message: `${gateway} is not in the network of ${address}` }];
}
