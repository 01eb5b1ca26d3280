/** Verbs: accepted here, carried out by the machine's owner. */
import {
  adoptRequest,
  attachVolumeRequest,
  cleanRequest,
  confirmedBody,
  detachVolumeRequest,
  inspectRequest,
  maintenanceRequest,
  plugVifsRequest,
  rebootRequest,
  rebuildRequest,
  rescueRequest,
} from '../node.ts';
import { type Operation, verb } from './operation.ts';

export const verbsOperations = {
  powerOnNode: verb('power-on', 'Power on a machine in use'),
  powerOffNode: verb('power-off', 'Cut the power of a machine in use'),
  rebootNode: { ...verb('reboot', 'Reboot a machine in use'), body: rebootRequest },
  destroyNode: {
    ...verb('destroy', 'End its instance: power off, clean up, make it free'),
    body: confirmedBody,
    refusals: [404, 409, 412, 428],
    harms: true,
  },
  rebuildNode: {
    ...verb('rebuild', 'Write the image of its instance anew, or another one'),
    body: rebuildRequest,
    refusals: [404, 409, 412, 428],
    harms: true,
  },
  retryNode: verb('retry', 'Of a machine in `error`: try again what failed'),
  abortNode: verb('abort', 'Interrupt what is under way, and clean up'),
  unstickNode: verb('unstick', 'Take it from an owner that does nothing, and begin its state again'),
  inspectNode: { ...verb('inspect', 'Boot the ramdisk and read the hardware'), body: inspectRequest },
  cleanNode: {
    ...verb('clean', 'Wipe the disk of a machine without an instance'),
    body: cleanRequest,
    refusals: [404, 409, 412, 428],
    harms: true,
  },
  rescueNode: { ...verb('rescue', 'Boot a machine in use into the ramdisk; its disk is not touched'), body: rescueRequest },
  unrescueNode: verb('unrescue', 'Boot it from its disk again'),
  manageNode: verb('manage', 'Take a free machine out of use'),
  provideNode: verb('provide', 'Put it into use again'),
  adoptNode: {
    ...verb('adopt', 'Take over an instance that runs on it already, without touching power or disk'),
    body: adoptRequest,
    bodyOptional: undefined,
    role: 'admin',
  },
  attachVolume: { ...verb('attach-volume', 'Give a volume to its instance'), body: attachVolumeRequest, bodyOptional: undefined },
  detachVolume: { ...verb('detach-volume', 'Take a volume from its instance'), body: detachVolumeRequest, bodyOptional: undefined },
  plugVifs: { ...verb('plug-vifs', 'Set the virtual interfaces of its instance'), body: plugVifsRequest, bodyOptional: undefined },
  maintainNode: {
    ...verb('maintenance', 'Keep everything from changing its power and disks, or let it again'),
    body: maintenanceRequest,
    bodyOptional: undefined,
  },
} as const satisfies Record<string, Operation>;
