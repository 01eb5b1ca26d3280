export { BootView, type BootViewOptions, bootDirectory } from './boot-view.ts';
export * from './catalog-records.ts';
export { acceptReport, type ClaimOptions, type ClaimPolicy, claimDeployment, claimPolicy } from './claim-deployment.ts';
export { chapSecret, chapUser, deployKeyHash, deployKeyName, doneToken, keyMatches, newDeployKey } from './deploy-key.ts';
export type { Deployment, DiskIdentity, RamdiskSession } from './deployment-record.ts';
export { describeEvent, diagnose, lastObserved } from './diagnosis.ts';
export { type DiscoveryResult, discoveredMachines, enrolDiscovered } from './discovered.ts';
export type { CommandRunner } from './drivers/command-runner.ts';
export { limitedSwitch, type SwitchLimits } from './drivers/limited-switch.ts';
export { RecordingSwitch, type SwitchDriver, type SwitchPort, SwitchVifs } from './drivers/switch-vifs.ts';
export { parseTargets, type TgtTarget } from './drivers/tgt-output.ts';
export { TgtVolumes, type TgtVolumesOptions, targetName } from './drivers/tgt-volumes.ts';
export { volumeFolder } from './drivers/volume-folder.ts';
export { machineErrors } from './errors.ts';
export { clearFault, reportFault } from './fleet/faults.ts';
export { afterLook, type Look, type PowerPolicy } from './fleet/power-decision.ts';
export { PowerSync, type PowerSyncOptions, type PowerSyncStats } from './fleet/power-sync.ts';
export { decideRemedy, defaultRemedyPolicy, type FleetHealth, looksLikeOutage, type Remedy, type RemedyPolicy } from './fleet/remedy.ts';
export { RemedyBudget, remedyBudgetKind } from './fleet/remedy-budget.ts';
export { activeVerbs } from './handlers/active.ts';
export { buildingSteps } from './handlers/building.ts';
export { cleanupSteps } from './handlers/cleanup.ts';
export { fromIronic } from './import/from-ironic.ts';
export { fromMetal3 } from './import/from-metal3.ts';
export type { Import, ImportedMachine } from './import/imported-machine.ts';
export { compareFacts } from './inspection.ts';
export { NoOpFirewallDriver, NoOpVifDriver, NoOpVolumeDriver, type Recorded } from './no-op-drivers.ts';
export * from './node-record.ts';
export { type EnrolRequest, enrol, findNodeByMac, findNodeByNumber, type NodesContext, unenrol } from './nodes.ts';
export { isCurrent } from './ownership.ts';
export { type Approval, checkApproval, type Plan, type PlannedRequest, planOf } from './plan.ts';
export * from './ports.ts';
export { PowerAdapter, type PowerAdapterOptions } from './power-adapter.ts';
export { type RamdiskNotifierOptions, ramdiskNotifier } from './ramdisk-notifier.ts';
export { codeIn, reasonOf } from './reason-of.ts';
export { Reconciler, type ReconcilerOptions } from './reconciler.ts';
export { type Reservation, reservationKind } from './reservations.ts';
export { capabilitiesOf, meets, unmetSpec } from './scheduler/extra-specs.ts';
export { type PlaceRequest, place } from './scheduler/place.ts';
export { type Schedule, type ScheduleRequest, schedule } from './scheduler/schedule.ts';
export { MountedCredentials, mountedRef } from './secrets/mounted-credentials.ts';
export { SecretKeyFile } from './secrets/secret-key-file.ts';
export { type KeyUse, SharedSecretStore, type SharedSecretStoreOptions } from './secrets/shared-secret-store.ts';
export { FileSecretStore, MemorySecretStore, type SecretSource, type SecretStore } from './secrets.ts';
export { defaultSettings, type MachineSettings } from './settings.ts';
export { deadlineOf, type RequestAnswer, type StateEntry, type StateTable, states } from './states.ts';
export { type Observation, observe } from './timeline.ts';
export { applyResult, backoffMs, cleanText, moveTo } from './transition.ts';
export {
  type AskOptions,
  adopt,
  ask,
  refuseSpawn,
  refuseVerb,
  type SpawnOutcome,
  type SpawnRequest,
  setMaintenance,
  spawn,
  type VerbContext,
} from './verbs.ts';
