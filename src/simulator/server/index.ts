export { type SimulatedMachine, type SimulatedMachineOptions, startMachine } from './simulated-machine.ts';
export { type ServerActivity, type ServerEvent, SimulatedServer, type SimulatedServerOptions } from './simulated-server.ts';
export { broadcastWire, type DhcpPort, type ProvisioningWire, RelayWire } from './wire.ts';
