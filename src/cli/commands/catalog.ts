/** bmctl image, flavor, instance. */
import type { InstanceView } from 'cdk8s-baremetal-contract/api/index';
import { type Command, InvalidArgumentError } from 'commander';
import { type CommandContext, said } from '../node-commands.ts';
import { table } from '../table.ts';
import { wholeNumber } from './enrol.ts';
import { type Confirm, confirmation, confirming, unconfirmed } from './plan.ts';

interface ImageFlags {
  readonly name?: string;
  readonly sha256?: string;
  readonly source?: string;
  readonly checksum?: string;
  readonly boot?: string;
  readonly kernel?: string;
  readonly ramdisk?: string;
  readonly layout?: string;
  readonly format?: string;
}

type KeyAndValue = readonly [key: string, value: string];

interface FlavorFlags {
  readonly cpus: number;
  readonly memory: number;
  readonly disk: number;
  readonly arch?: string;
  readonly deployKernel?: string;
  readonly deployRamdisk?: string;
  readonly swap?: number;
  readonly ephemeral?: number;
  readonly spec?: readonly KeyAndValue[];
}

export function registerCatalog(program: Command, context: () => Promise<CommandContext>): void {
  const image = program.command('image').description('images, files of [pxe] user_image_dir');
  image
    .command('add')
    .description('registers a file; it is read whole and its SHA-256 computed')
    .argument('<id>', 'name of its file')
    .option('--name <name>', 'for people; default: its id')
    .option('--sha256 <hex>', 'of the raw form, that it must have')
    .option('--source <url>', 'where its file is: an http(s) URL, or a path; fetched when the first machine needs it')
    .option('--checksum <digest>', 'of that file as published: sha256:… or sha512:…')
    .option('--boot <how>', 'local (default) or kernel')
    .option('--kernel <id>', 'with --boot kernel: the image that is its kernel')
    .option('--ramdisk <id>', 'with --boot kernel: the image that is its ramdisk')
    .option('--layout <layout>', 'whole-disk (default) or partition')
    .option('--format <format>', 'raw or qcow2, when it must be that')
    .action(async (id: string, { kernel: kernelId, ramdisk: ramdiskId, ...flags }: ImageFlags) => {
      const at = await context();
      const added = await at.api.ask('registerImage', {}, { body: { id, kernelId, ramdiskId, ...flags } });
      at.print(
        at.asJson
          ? JSON.stringify(added, undefined, 2)
          : added.source === undefined
            ? `${id}: ${added.format}, ${added.sizeBytes} bytes, SHA-256 ${added.sha256}`
            : `${id}: ${added.format}, from ${added.source} when a machine needs it`,
      );
    });
  image
    .command('list')
    .description('every image, with its size and SHA-256')
    .action(async () => {
      const at = await context();
      const answer = await at.api.ask('listImages', {});
      if (at.asJson) return at.print(JSON.stringify(answer, undefined, 2));
      if (answer.images.length === 0) return at.print('There is no image: bmctl image add registers one.');
      const rows = answer.images.map((one) => [one.id, one.name, one.format, String(one.sizeBytes ?? '-'), one.sha256 ?? '-']);
      at.print(table(['ID', 'NAME', 'FORMAT', 'BYTES', 'SHA-256'], rows));
    });
  image
    .command('show')
    .description('one image')
    .argument('<id>', 'of the image')
    .action(async (id: string) => {
      const at = await context();
      facts(at, await at.api.ask('showImage', { image: id }));
    });
  image
    .command('remove')
    .description('forgets an image; its file stays')
    .argument('<id>', 'of the image')
    .action(async (id: string) => {
      const at = await context();
      await at.api.ask('removeImage', { image: id });
      said(at, { removed: id }, `${id} is removed; its file stays.`);
    });

  const flavor = program.command('flavor').description('flavors: what a machine must have');
  flavor
    .command('add')
    .description('adds a flavor')
    .argument('<id>', 'what it is called')
    .requiredOption('--cpus <number>', 'at least', wholeNumber)
    .requiredOption('--memory <MiB>', 'at least', wholeNumber)
    .requiredOption('--disk <GB>', 'at least', wholeNumber)
    .option('--arch <arch>', 'that it must be')
    .option('--deploy-kernel <id>', 'default: of [pxe] deploy_image_dir')
    .option('--deploy-ramdisk <id>', 'default: of [pxe] deploy_image_dir')
    .option('--swap <MiB>', 'of partition images', wholeNumber)
    .option('--ephemeral <GB>', 'of partition images', wholeNumber)
    .option('--spec <key=value...>', "what a machine must be beyond that, with nova's operators, e.g. rack=r1", keyAndValue)
    .action(async (id: string, flags: FlavorFlags) => {
      const at = await context();
      const body = {
        id,
        cpus: flags.cpus,
        memoryMb: flags.memory,
        localGb: flags.disk,
        cpuArch: flags.arch,
        deployKernelId: flags.deployKernel,
        deployRamdiskId: flags.deployRamdisk,
        swapMb: flags.swap,
        ephemeralGb: flags.ephemeral,
        ...(flags.spec && { extraSpecs: Object.fromEntries(flags.spec) }),
      };
      said(at, await at.api.ask('createFlavor', {}, { body }), `${id} is added.`);
    });
  flavor
    .command('list')
    .description('every flavor')
    .action(async () => {
      const at = await context();
      const answer = await at.api.ask('listFlavors', {});
      if (at.asJson) return at.print(JSON.stringify(answer, undefined, 2));
      if (answer.flavors.length === 0) return at.print('There is no flavor: bmctl flavor add makes one.');
      const rows = answer.flavors.map((one) => [one.id, String(one.cpus), String(one.memoryMb), String(one.localGb), one.cpuArch ?? '-']);
      at.print(table(['ID', 'CPUS', 'MIB', 'GIB', 'ARCH'], rows));
    });
  flavor
    .command('show')
    .description('one flavor')
    .argument('<id>', 'of the flavor')
    .action(async (id: string) => {
      const at = await context();
      facts(at, await at.api.ask('showFlavor', { flavor: id }));
    });
  flavor
    .command('remove')
    .description('forgets a flavor; instances of it go on')
    .argument('<id>', 'of the flavor')
    .action(async (id: string) => {
      const at = await context();
      await at.api.ask('removeFlavor', { flavor: id });
      said(at, { removed: id }, `${id} is removed.`);
    });

  const instance = program.command('instance').description('instances: what runs on which machine');
  instance
    .command('show')
    .description('one instance, with its machine')
    .argument('<instance>', 'name or UUID')
    .action(async (key: string) => {
      const at = await context();
      const { node, ...rest } = await at.api.ask('showInstance', { instance: key });
      facts(at, { ...rest, machine: node.name, state: node.state, why: node.reason }, { ...rest, node });
    });
  confirming(instance.command('destroy'))
    .description('ends it and makes its machine free')
    .argument('<instance>', 'name or UUID')
    .action(async (key: string, flags: Confirm) => {
      const at = await context();
      if (!flags.yes && flags.plan === undefined) {
        const { node } = await at.api.ask('showInstance', { instance: key });
        return unconfirmed(at, { verb: 'destroy', node: node.uuid });
      }
      const answer = await at.api.ask('destroyInstance', { instance: key }, { body: confirmation(flags) });
      at.print(at.asJson ? JSON.stringify(answer, undefined, 2) : `${key} ends; its machine is ${answer.node.name}.`);
    });
  instance
    .command('list')
    .description('every instance, with its machine')
    .action(async () => {
      const at = await context();
      const instances: InstanceView[] = [];
      for (let cursor: string | undefined; ; ) {
        const { instances: some, next } = await at.api.ask('listInstances', {}, { query: { limit: 1000, cursor } });
        instances.push(...some);
        cursor = next;
        if (cursor === undefined) break;
      }
      const answer = { instances };
      if (at.asJson) return at.print(JSON.stringify(answer, undefined, 2));
      if (answer.instances.length === 0) return at.print('There is no instance: bmctl deploy makes one.');
      const rows = answer.instances.map((one) => [one.name, one.uuid, one.node.name, one.node.state, one.imageId, one.flavorId ?? '-']);
      at.print(table(['NAME', 'UUID', 'MACHINE', 'STATE', 'IMAGE', 'FLAVOR'], rows));
    });
}

/** One line per field; what is nested as JSON. */
function facts({ asJson, print }: CommandContext, shown: object, whole: object = shown): void {
  if (asJson) {
    print(JSON.stringify(whole, undefined, 2));
    return;
  }
  const rows = Object.entries(shown).filter(([, value]) => value !== undefined);
  const width = Math.max(...rows.map(([key]) => key.length));
  for (const [key, value] of rows) print(`${key.padEnd(width)}  ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`);
}

/** Of an option that may be given several times. */
function keyAndValue(text: string, before: readonly KeyAndValue[] = []): KeyAndValue[] {
  const [, key, value] = /^([^=]+)=(.*)$/.exec(text) ?? [];
  if (key === undefined || value === undefined) throw new InvalidArgumentError('It must be key=value.');
  return [...before, [key, value]];
}
