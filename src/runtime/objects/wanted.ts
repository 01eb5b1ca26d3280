/** The machine that an object asks for, in the words of an enrolment. */
import type { BareMetalNodeSpec } from 'cdk8s-baremetal-contract/crd/index';
import { port } from 'cdk8s-baremetal-contract/ports';
import { recordedBmc } from '../api/bmc-address.ts';
import { type EnrolRequest, mountedRef } from '../machine/index.ts';
import { IBOOT_PORT, REDFISH_PORT } from '../power/index.ts';

export interface WantedMachine {
  readonly name: string;
  readonly macs: readonly string[];
  /** Reserved for the interface that boots. */
  readonly address: string | undefined;
  readonly properties: EnrolRequest['properties'] & { readonly capabilities: Readonly<Record<string, string>> };
  readonly bmc: Exclude<EnrolRequest['bmc'], { readonly password: unknown }>;
  readonly maintenance: boolean;
}

/** Throws what the API refuses an address with. */
export function wantedMachine(name: string, spec: BareMetalNodeSpec, username: string): WantedMachine {
  const { protocol: driver, address, port: given, credentialsSecretRef } = spec.bmc;
  // 623 is what the definition fills in whatever the protocol, and nobody's choice where it is not IPMI's
  const usual = { ipmi: port.ipmi, redfish: REDFISH_PORT, iboot: IBOOT_PORT, virtual: undefined }[driver];
  const own = given === port.ipmi ? usual : given;
  const { cpus, memoryMb, localGb, cpuArch, capabilities = {} } = spec.properties;
  return {
    name,
    macs: spec.interfaces.map(({ mac }) => mac),
    address: spec.address,
    properties: { cpus, memoryMb, localGb, cpuArch, capabilities },
    bmc: {
      ...recordedBmc({ driver, address, username, ...(own !== undefined && { port: own }) }),
      passwordRef: mountedRef(credentialsSecretRef.name),
    },
    maintenance: spec.maintenance === true,
  };
}
