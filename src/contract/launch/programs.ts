/** What images/launch ships, and where it is in its own image and in images that carry it along. */
import { CONTRACT_VERSION } from '../names.ts';

export const LAUNCH_DIRECTORY = '/opt/launch';

export const launchProgram = {
  setConfigs: 'kolla_set_configs',
  start: 'kolla_start',
  environmentStart: 'environment_start',
  checkout: 'checkout',
} as const;

/** The image of images/launch when nobody names another; a site pushes it to its own registry. */
export const CONTRACT_LAUNCH_IMAGE = { repository: 'harbor.capitalonline.net/bms-test/bms_launch', tag: CONTRACT_VERSION } as const;
