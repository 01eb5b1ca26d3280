/** bmctl image, flavor, instance. */
import type { Command } from 'commander';
import type { CommandContext } from '../node-commands.ts';
import { table } from '../table.ts';
import { wholeNumber } from './enrol.ts';

export function registerCatalog(program: Command, context: () => Promise<CommandContext>): void {
  const image = program.command('image').description('images, files of [pxe] user_image_dir');
  image
    .command('add')
    .description('registers a file; it is read whole and its SHA-256 computed')
    .argument('<id>', 'name of its file')
    .option('--name <name>')
    .option('--sha256 <hex>', 'that it must have')
    .option('--boot <how>', 'local or kernel')
    .action(async (id: string, flags: { name?: string; sha256?: string; boot?: string }) => {
      const at = await context();
      const added = await at.api.ask('registerImage', {}, { body: { id, ...flags } });
      at.print(
        at.asJson ? JSON.stringify(added, undefined, 2) : `${id}: ${added.format}, ${added.sizeBytes} bytes, SHA-256 ${added.sha256}`,
      );
    });
  image.command('list').action(async () => {
    const at = await context();
    const answer = await at.api.ask('listImages', {});
    if (at.asJson) return at.print(JSON.stringify(answer, undefined, 2));
    const rows = answer.images.map((one) => [one.id, one.name, one.format, String(one.sizeBytes ?? '-'), one.sha256 ?? '-']);
    at.print(table(['ID', 'NAME', 'FORMAT', 'BYTES', 'SHA-256'], rows));
  });
  image
    .command('remove')
    .argument('<id>')
    .action(async (id: string) => {
      const at = await context();
      await at.api.ask('removeImage', { image: id });
      at.print(`${id} is removed; its file stays.`);
    });

  const flavor = program.command('flavor').description('flavors: what a machine must have');
  flavor
    .command('add')
    .argument('<id>')
    .requiredOption('--cpus <number>', '', wholeNumber)
    .requiredOption('--memory <MiB>', '', wholeNumber)
    .requiredOption('--disk <GB>', '', wholeNumber)
    .option('--arch <arch>', 'that it must be')
    .option('--deploy-kernel <id>')
    .option('--deploy-ramdisk <id>')
    .action(
      async (
        id: string,
        flags: { cpus: number; memory: number; disk: number; arch?: string; deployKernel?: string; deployRamdisk?: string },
      ) => {
        const at = await context();
        const {
          cpus,
          memory: memoryMb,
          disk: localGb,
          arch: cpuArch,
          deployKernel: deployKernelId,
          deployRamdisk: deployRamdiskId,
        } = flags;
        await at.api.ask('createFlavor', {}, { body: { id, cpus, memoryMb, localGb, cpuArch, deployKernelId, deployRamdiskId } });
        at.print(`${id} is added.`);
      },
    );
  flavor.command('list').action(async () => {
    const at = await context();
    const answer = await at.api.ask('listFlavors', {});
    if (at.asJson) return at.print(JSON.stringify(answer, undefined, 2));
    const rows = answer.flavors.map((one) => [one.id, String(one.cpus), String(one.memoryMb), String(one.localGb), one.cpuArch ?? '-']);
    at.print(table(['ID', 'CPUS', 'MIB', 'GB', 'ARCH'], rows));
  });
  flavor
    .command('remove')
    .argument('<id>')
    .action(async (id: string) => {
      const at = await context();
      await at.api.ask('removeFlavor', { flavor: id });
      at.print(`${id} is removed.`);
    });

  program
    .command('instance')
    .description('instances')
    .command('list')
    .action(async () => {
      const at = await context();
      const answer = await at.api.ask('listInstances', {}, { query: { limit: 1000 } });
      if (at.asJson) return at.print(JSON.stringify(answer, undefined, 2));
      const rows = answer.instances.map((one) => [one.name, one.uuid, one.node.name, one.node.state, one.imageId, one.flavorId ?? '-']);
      at.print(table(['NAME', 'UUID', 'MACHINE', 'STATE', 'IMAGE', 'FLAVOR'], rows));
    });
}
