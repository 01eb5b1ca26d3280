/**
 * What an import would do, machine by machine, before it does it: what is lacking, what is twice in the export, what is enrolled already. Pure;
 * whoever shows it may show all of it, since passwords stay in their wrapping.
 */
import { enrolRequest } from 'cdk8s-baremetal-contract/api/index';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { powerUrlOf } from '../../power/index.ts';
import type { Import, ImportedMachine } from './imported-machine.ts';

/** A machine that is enrolled here, as the API lists it. */
export interface EnrolledMachine {
  readonly uuid: string;
  readonly name: string;
  readonly macs: readonly string[];
  /** driver://address[:port] */
  readonly bmc: string;
  readonly maintenance?: boolean;
}

export interface PlannedImport {
  readonly name: string;
  readonly machine: ImportedMachine;
  /** `enrolled`: it is here already, so there is nothing to do. `faulty`: it cannot be enrolled as it is. */
  readonly outlook: 'enrol' | 'enrolled' | 'faulty';
  readonly password: Secret | undefined;
  /** Enrolled without the maintenance that it is in there: an import was cut off, or somebody has ended it here. */
  readonly unheld?: true;
  /** Of a faulty one: what is lacking or taken, each with what helps. */
  readonly faults: readonly string[];
}

export interface ImportPlanOptions {
  /** By the machine's name; they win over those of the export. */
  readonly passwords?: ReadonlyMap<string, string>;
  readonly enrolled?: readonly EnrolledMachine[];
}

export function planImport({ machines }: Import, { passwords = new Map(), enrolled = [] }: ImportPlanOptions = {}): PlannedImport[] {
  const here = new Map<string, string>();
  for (const { name, macs, bmc } of enrolled) {
    here.set(`name ${name}`, name);
    for (const mac of macs) here.set(`MAC address ${mac}`, name);
    here.set(`BMC ${withPort(bmc)}`, name);
  }
  const holders = new Map<string, string[]>();
  for (const machine of machines)
    for (const key of identities(machine)) holders.set(key, [...(holders.get(key) ?? []), machine.enrol.name]);

  return machines.map((machine) => {
    const { name, uuid, bmc } = machine.enrol;
    const given = passwords.get(name);
    const password = given === undefined ? machine.password : new Secret(given);
    const known = enrolled.find(
      (one) => one.uuid === uuid || (one.name === name && machine.enrol.macs.some((mac) => one.macs.includes(mac))),
    );
    if (known) {
      const unheld = machine.maintenance !== undefined && known.maintenance === false;
      return { name, machine, outlook: 'enrolled', password, faults: [], ...(unheld && { unheld }) };
    }
    const faults = [
      ...(password === undefined ? [`no password: ${passwordAdvice(machine)}`] : []),
      ...(bmc.username === '' && bmc.driver !== 'virtual' ? ['no user of its BMC: the Secret of its credentials has it'] : []),
      ...identities(machine).flatMap((key) => {
        const others = [...new Set(holders.get(key))].filter((other) => other !== name);
        const twice = others.length > 0 ? `${key} is that of ${others.join(', ')}` : `${key} is in the export twice`;
        const taken = here.get(key);
        return [
          ...((holders.get(key)?.length ?? 0) > 1 ? [twice] : []),
          ...(taken === undefined ? [] : [`${key} belongs to ${taken}, which is enrolled`]),
        ];
      }),
      ...invalid(machine),
    ];
    return { name, machine, outlook: faults.length > 0 ? 'faulty' : 'enrol', password, faults };
  });
}

/** The body of the request that enrols it. The password is in it as it is. */
export function enrolBody({ machine, password }: Pick<PlannedImport, 'machine' | 'password'>): object {
  const { switchPorts: _ports, target, ...rest } = machine.enrol;
  return {
    ...rest,
    // What is in maintenance there is not free here before somebody says so.
    ...(target !== undefined && { target: machine.maintenance === undefined ? target : 'manageable' }),
    bmc: { ...machine.enrol.bmc, password: password?.reveal() ?? '' },
  };
}

/** What no two machines may share, in words. A PDU or a hypervisor switches many at one address, a BMC only its own. */
function identities({ enrol: { name, macs, bmc } }: ImportedMachine): string[] {
  return [`name ${name}`, ...macs.map((mac) => `MAC address ${mac}`), `BMC ${withPort(powerUrlOf(bmc))}`];
}

/** IPv6 addresses with and without brackets, ports told or left out: one form. */
function withPort(url: string): string {
  const [, driver = '', rest = '', path = ''] = /^([a-z]+):\/\/([^/]*)(.*)$/.exec(url) ?? [];
  const usual = driver === 'ipmi' ? 623 : 443;
  const of = path === '' || path === '/' ? '' : `, ${path}`;
  const bracketed = /^\[(.*)\](?::(\d+))?$/.exec(rest);
  if (bracketed) return `${driver}://${bracketed[1]} port ${bracketed[2] ?? usual}${of}`;
  const [, host = rest, port] = /^([^:]*):(\d+)$/.exec(rest) ?? [];
  return `${driver}://${host.toLowerCase()} port ${port ?? usual}${of}`;
}

function passwordAdvice({ credentials, enrol }: ImportedMachine): string {
  return credentials === undefined
    ? `give it to ${enrol.name} in the file of --passwords`
    : `export the Secret ${credentials} with it, or give one to ${enrol.name} in the file of --passwords`;
}

/** What the API would refuse, in its own words. */
function invalid(machine: ImportedMachine): string[] {
  const read = enrolRequest.safeParse(enrolBody({ machine, password: new Secret('x') }));
  if (read.success) return [];
  return read.error.issues.map(({ path, message }) =>
    path.join('.') === 'bmc.address'
      ? `its BMC is named ${machine.enrol.bmc.address}: put its IP address in place of that`
      : `${path.join('.')}: ${message}`,
  );
}
