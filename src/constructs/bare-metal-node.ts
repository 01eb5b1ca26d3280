import { Lazy } from 'cdk8s';
import { type BareMetalNodeSpec, label, type MachineInput, unicastMac } from 'cdk8s-baremetal-contract';
import { Construct } from 'constructs';
import { BareMetalNode as BareMetalNodeObject } from '../../imports/baremetal.bms.io.ts';
import { Fleet } from './fleet.ts';
import type { Pod } from './pod.ts';

export interface BareMetalNodeProps extends Omit<MachineInput, 'name'> {}

/** A physical server, as a custom resource. Deleting the object never wipes the machine. */
export class BareMetalNode extends Construct {
  private readonly place: { readonly pod: Pod; readonly index: number };

  /** Use `pod.addMachine`: a server always belongs to the pair of management nodes that boots it. */
  constructor(scope: Construct, id: string, place: { readonly pod: Pod; readonly index: number }) {
    super(scope, id);
    this.place = place;
    this.node.addValidation({ validate: () => Fleet.of(this).problemsOf(this) });
    new BareMetalNodeObject(this, 'Resource', {
      metadata: { name: id, labels: { [label.pod]: place.pod.node.id } },
      spec: Lazy.any({ produce: () => this.toSpec() }),
    });
  }

  private toSpec(): BareMetalNodeSpec {
    const { pod, index } = this.place;
    const machine = pod.spec.machines[index];
    if (!machine) throw new Error(`${this.node.path} is not part of its pod`);
    const { credentials, ...bmc } = machine.bmc;
    return {
      site: pod.site.spec.name,
      pod: pod.spec.name,
      interfaces: machine.interfaces.map(({ mac, ...rest }) => ({ mac: unicastMac(mac) ?? mac, ...rest })),
      bmc: { ...bmc, credentialsSecretRef: { name: credentials.secretName } },
      properties: {
        cpuArch: machine.cpuArch,
        cpus: machine.cpus,
        memoryMb: machine.memoryMb,
        localGb: machine.diskGb,
        ...(Object.keys(machine.capabilities).length > 0 && { capabilities: machine.capabilities }),
      },
      ...(machine.address !== undefined && { address: machine.address }),
    };
  }
}
