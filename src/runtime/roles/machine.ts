/** The life of the machines: the reconciler, with everything that it acts through. */
import { type MachinePorts, NoOpFirewallDriver, NoOpVifDriver, NoOpVolumeDriver, Reconciler } from '../machine/index.ts';
import type { DeployRole } from './deploy.ts';
import type { PowerRole } from './power.ts';
import { type Role, type Surroundings, startRole } from './role.ts';

export function startMachines(surroundings: Surroundings, { power }: PowerRole, deploy: DeployRole): Promise<Role> {
  const { config, store, coordination, secrets, memberName, clock, random, logger, settings } = surroundings;
  return startRole(async (closing) => {
    const ports: MachinePorts = {
      ...deploy.ports,
      power,
      secrets,
      vifs: new NoOpVifDriver(),
      volumes: new NoOpVolumeDriver(),
      firewall: new NoOpFirewallDriver(),
    };
    const reconciler = new Reconciler({
      store,
      coordination,
      memberName,
      clock,
      random,
      logger,
      ports,
      settings: {
        pxeDeployTimeoutMs: config.deploy_helper.deploy_timeout_s * 1000,
        maxWrites: config.deploy_helper.workers,
        ...settings,
      },
    });
    closing(() => reconciler.close()); // also of one that could not join
    await reconciler.start();
    return {};
  });
}
