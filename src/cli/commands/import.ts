/** bmctl import: machines of another system. Shows what would be taken over; --apply enrols it. Passwords go to the API and nowhere else. */
import { readFileSync } from 'node:fs';
import { CodedError, defineErrors, entry } from 'cdk8s-baremetal-contract';
import type { NodeSummary } from 'cdk8s-baremetal-contract/api/index';
import { readDocuments, readTextMap } from 'cdk8s-baremetal-runtime/machine/import/documents';
import { fromIronic } from 'cdk8s-baremetal-runtime/machine/import/from-ironic';
import { fromMetal3 } from 'cdk8s-baremetal-runtime/machine/import/from-metal3';
import { enrolBody, type PlannedImport, planImport } from 'cdk8s-baremetal-runtime/machine/import/import-plan';
import type { Import } from 'cdk8s-baremetal-runtime/machine/import/imported-machine';
import { isPowerUrl } from 'cdk8s-baremetal-runtime/power/index';
import type { Command } from 'commander';
import { ExitError, exitCode } from '../exit-codes.ts';
import type { CommandContext } from '../node-commands.ts';
import { table } from '../table.ts';

export const importErrors = defineErrors('bmctl import', {
  BMCTL_IMPORT_FILE: entry<{ path: string; why: string }>({
    message: ({ path, why }) => `${path} cannot be used: ${why}`,
    cure: 'Give what openstack baremetal node list --long -f json or kubectl get bmh,secret -A -o yaml prints; for --passwords names and passwords',
  }),
  BMCTL_IMPORT_FAULTS: entry<{ names: readonly string[] }>({
    message: ({ names }) => `nothing was enrolled: ${names.join(', ')} cannot be`,
    cure: 'Supply what is lacking, or leave them out with --skip-faulty',
  }),
  BMCTL_IMPORT_REFUSED: entry<{ names: readonly string[]; enrolled: number }>({
    message: ({ names, enrolled }) => `${enrolled} were enrolled; bms-core refused ${names.join(', ')}`,
    cure: 'Do what is said of each, and run the same again: what is enrolled is left as it is',
  }),
});

interface ImportFlags {
  readonly passwords?: string;
  readonly apply?: boolean;
  readonly skipFaulty?: boolean;
}

/** The longest reason of a maintenance that the API takes. */
const LONGEST_REASON = 200;

export function registerImport(program: Command, context: () => Promise<CommandContext>): void {
  const importing = program.command('import').description('machines of another system: shows what would be taken over; --apply enrols it');
  const common = (command: Command): Command =>
    command
      .option('--passwords <file>', 'JSON or YAML: name of the machine → password of its BMC')
      .option('--apply', 'enrol them')
      .option('--skip-faulty', 'with --apply: leave out those that cannot be enrolled, instead of enrolling none');
  common(
    importing
      .command('ironic')
      .description("Ironic's nodes and ports; running instances are adopted")
      .argument('<nodes...>', 'openstack baremetal node list --long -f json, or node show; - for standard input')
      .option('--ports <file>', 'openstack baremetal port list --long -f json'),
  ).action(async (files: string[], flags: ImportFlags & { ports?: string }) => {
    const at = await context();
    const nodes = (await read(at, files)).flat();
    const ports = flags.ports === undefined ? undefined : (await read(at, [flags.ports])).flat();
    // the API's own answer is an object around the list
    const [only] = nodes;
    await imported(
      at,
      fromIronic({ nodes: nodes.length === 1 ? only : nodes, ...(ports && { ports: ports.length === 1 ? ports[0] : ports }) }),
      flags,
    );
  });
  common(
    importing
      .command('metal3')
      .description("Metal3's BareMetalHosts; Secrets beside them give the passwords")
      .argument('<hosts...>', 'kubectl get bmh,secret -A -o yaml (or json); - for standard input'),
  ).action(async (files: string[], flags: ImportFlags) => {
    const at = await context();
    await imported(at, fromMetal3(await read(at, files)), flags);
  });
}

async function imported(at: CommandContext, found: Import, { passwords: file, apply, skipFaulty }: ImportFlags): Promise<void> {
  const passwords = file === undefined ? undefined : await readPasswords(at, file);
  const enrolled = await enrolledMachines(at, apply === true);
  const planned = planImport(found, { ...(passwords && { passwords }), ...(enrolled && { enrolled }) });
  if (at.asJson) at.print(JSON.stringify({ machines: planned.map(inJson), refused: found.refused }, undefined, 2));
  else show(at, planned, found.refused);
  if (!apply) return at.note(`Nothing was done${whatNext(planned)}`);

  const faulty = planned.filter(({ outlook }) => outlook === 'faulty').map(({ name }) => name);
  if (faulty.length > 0 && !skipFaulty) throw new ExitError(exitCode.refused, importErrors.BMCTL_IMPORT_FAULTS({ names: faulty }));
  const refused: { what: string; why: string }[] = [];
  const wanted = planned.filter(({ outlook }) => outlook === 'enrol');
  for (const one of wanted) {
    try {
      await enrol(at, one);
    } catch (error) {
      if (!(error instanceof ExitError) || error.exitCode === exitCode.notAllowed) throw error; // it would be so for each of them
      refused.push({ what: one.name, why: error.message });
    }
  }
  if (refused.length === 0) return;
  const names = refused.map(({ what }) => what);
  throw new ExitError(exitCode.refused, importErrors.BMCTL_IMPORT_REFUSED({ names, enrolled: wanted.length - refused.length }), refused);
}

function whatNext(planned: readonly PlannedImport[]): string {
  const [wanted, faulty] = (['enrol', 'faulty'] as const).map((kind) => planned.filter(({ outlook }) => outlook === kind).length);
  if (faulty)
    return wanted
      ? ': --apply enrols them once all can be, and with --skip-faulty those that can.'
      : ', and none of them can be enrolled as it is.';
  return wanted ? ': --apply enrols them.' : ', and there is nothing to do.';
}

async function enrol({ api, note }: CommandContext, planned: PlannedImport): Promise<void> {
  const { uuid } = await api.ask('enrolNode', {}, { body: enrolBody(planned) });
  const { maintenance } = planned.machine;
  if (maintenance !== undefined)
    await api.ask('maintainNode', { node: uuid }, { body: { on: true, reason: maintenance.slice(0, LONGEST_REASON) } });
  note(`${planned.name} is enrolled${maintenance === undefined ? '' : ', in maintenance'}.`);
}

const OUTLOOKS = { enrol: 'enrol', enrolled: 'is enrolled', faulty: 'CANNOT' } as const;

function show({ print, note }: CommandContext, planned: readonly PlannedImport[], refused: Import['refused']): void {
  print(
    table(
      ['NAME', 'WOULD', 'MAC', 'BMC', 'PASSWORD', 'INSTANCE'],
      planned.map(({ name, outlook, machine: { enrol: wanted }, password }) => [
        name,
        outlook === 'enrol' && wanted.adopt ? 'adopt' : OUTLOOKS[outlook],
        wanted.macs[0] ?? '-',
        isPowerUrl(wanted.bmc.address) ? wanted.bmc.address : `${wanted.bmc.driver}://${wanted.bmc.address}`,
        password === undefined ? 'lacking' : 'given',
        wanted.adopt?.name ?? '-',
      ]),
    ),
  );
  for (const { name, faults, machine, outlook, unheld } of planned) {
    if (unheld) note(`${name} is enrolled, and not in maintenance as it was there (${machine.maintenance}): bmctl maintenance on ${name}`);
    if (outlook === 'enrolled') continue;
    for (const fault of faults) note(`${name}: ${fault}`);
    if (machine.maintenance !== undefined) note(`${name} will be held at manageable, in maintenance: ${machine.maintenance}`);
    for (const warning of machine.warnings) note(`${name}: ${warning}`);
  }
  for (const { name, reason } of refused) note(`${name} is left out: ${reason}`);
}

function inJson({ name, outlook, unheld, faults, password, machine }: PlannedImport): object {
  const { enrol: wanted, maintenance, warnings } = machine;
  return { name, outlook, unheld, faults, passwordGiven: password !== undefined, enrol: wanted, maintenance, warnings };
}

/** What is here already. To look at an export nobody needs a running bms-core; to enrol it, everybody. */
async function enrolledMachines({ api, note }: CommandContext, needed: boolean): Promise<NodeSummary[] | undefined> {
  try {
    const all: NodeSummary[] = [];
    for (let cursor: string | undefined; ; ) {
      const { nodes, next } = await api.ask('listNodes', {}, { query: { limit: 1000, cursor } });
      all.push(...nodes);
      if (next === undefined) return all;
      cursor = next;
    }
  } catch (error) {
    if (needed || !(error instanceof CodedError)) throw error;
    note(`Not compared with the machines that are enrolled: ${error.message}`);
    return undefined;
  }
}

async function read(at: CommandContext, files: readonly string[]): Promise<unknown[]> {
  const documents: unknown[] = [];
  for (const file of files) documents.push(...(await parsed(at, file, readDocuments)));
  return documents;
}

function readPasswords(at: CommandContext, file: string): Promise<ReadonlyMap<string, string>> {
  return parsed(at, file, readTextMap);
}

async function parsed<T>({ stdin }: CommandContext, path: string, parse: (text: string) => T): Promise<T> {
  try {
    return parse(path === '-' ? await stdin() : readFileSync(path, 'utf8'));
  } catch (error) {
    const why = error instanceof Error ? ('code' in error ? String(error.code) : error.message) : String(error);
    throw new ExitError(exitCode.usage, importErrors.BMCTL_IMPORT_FILE({ path, why }));
  }
}
