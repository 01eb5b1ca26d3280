/** What volumes and virtual interfaces are made with here, as the configuration says. */
import { nodeProcessRunner } from '../launch/node-process-runner.ts';
import {
  type CommandRunner,
  limitedSwitch,
  type MachinePorts,
  NoOpFirewallDriver,
  NoOpVifDriver,
  NoOpVolumeDriver,
  RecordingSwitch,
  SwitchVifs,
  TgtVolumes,
  volumeFolder,
} from '../machine/index.ts';
import type { Surroundings } from './role.ts';

export function driversOf(
  { config, coordination, logger }: Pick<Surroundings, 'config' | 'coordination' | 'logger'>,
  runner: CommandRunner = nodeProcessRunner,
): Pick<MachinePorts, 'vifs' | 'volumes' | 'firewall'> {
  return { vifs: vifs(), volumes: volumes(), firewall: new NoOpFirewallDriver() };

  function volumes(): MachinePorts['volumes'] {
    const { driver, dir, iqn_prefix: iqnPrefix, use_unsafe_iscsi: unsafe } = config.volumes;
    switch (driver) {
      case 'none':
        return new NoOpVolumeDriver();
      case 'tgt':
        return new TgtVolumes({ runner, pathOf: volumeFolder(dir), iqnPrefix, unsafe });
    }
  }

  function vifs(): MachinePorts['vifs'] {
    switch (config.vifs.driver) {
      case 'none':
        return new NoOpVifDriver();
      case 'recorder': {
        const { max_connections: limit, acquire_lock_timeout: timeoutS } = config.sw_coordination;
        const recorder = new RecordingSwitch((port, vif) =>
          logger.info(
            { port, ...(vif !== undefined && { vif }) },
            vif === undefined ? 'a switch port was cleared' : 'a switch port was connected',
          ),
        );
        return new SwitchVifs(limitedSwitch(recorder, coordination, { limit, timeoutMs: timeoutS * 1000 }));
      }
    }
  }
}
