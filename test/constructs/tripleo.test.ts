/** Row 002-15: physical and virtual compute in one site, synthesized by examples/tripleo. */
import { App } from 'cdk8s';
import { bmsCoreConfig } from 'cdk8s-baremetal-contract';
import { flavorRegistration } from 'cdk8s-baremetal-contract/api/index';
import { type FlavorRecord, type NodeRecord, nodeKind, schedule } from 'cdk8s-baremetal-runtime/machine/index';
import { describe, expect, it } from 'vitest';
import { FLAVORS, physical, type Role, virtual } from '../../examples/tripleo/app.ts';
import { schemaProblems } from '../support/kubernetes-schema.ts';
import { type AnyManifest, find, manifestsOf } from '../support/synth.ts';

const servers = manifestsOf(physical(new App()));
const hypervisors = manifestsOf(virtual(new App()));

describe('002-15: an example that synthesizes physical and virtual compute', () => {
  it('synthesizes both from one app, and Kubernetes knows every field', () => {
    const app = new App();
    const charts = [physical(app), virtual(app)];
    const manifests = charts.flatMap(manifestsOf);
    expect(manifests).toHaveLength(servers.length + hypervisors.length);
    expect(manifests.filter(({ kind }) => kind !== 'BareMetalNode').flatMap((manifest) => schemaProblems(manifest))).toEqual([]);
  });

  it('physical: three servers of each role, each with its BMC and the Secret that opens it', () => {
    const nodes = servers.filter(({ kind }) => kind === 'BareMetalNode');
    const roleOf = ({ spec }: AnyManifest): string => spec.properties.capabilities.role;
    expect(nodes.map(roleOf).sort()).toEqual(['kvm', 'kvm', 'kvm', 'metal', 'metal', 'metal']);
    expect(new Set(nodes.map(({ spec }) => spec.bmc.address)).size).toBe(6);
    for (const { spec } of nodes) expect(spec.bmc.credentialsSecretRef).toEqual({ name: 'cloud1-bmc' });
    const config = find(servers, 'ConfigMap', 'pod1-cloud1-bmscore').data;
    const [text] = Object.values<string>(config).filter((value) => value.includes('[sw_coordination]'));
    expect(bmsCoreConfig.parse(text ?? '').pxe.nfs_server_ip).toBe('10.21.0.20');
  });

  it('virtual: libvirt and nova-compute on each node of the group, and on no other; passwords out of a Secret', () => {
    for (const name of ['nova-libvirt', 'nova-compute']) {
      const { spec } = find(hypervisors, 'DaemonSet', name).spec.template;
      const wanted = JSON.stringify([spec.nodeSelector, spec.affinity]);
      expect(wanted).toContain('baremetal.bms.io/group-compute');
      expect(JSON.stringify(spec)).toContain('"privileged":true'); // what runs KVM
    }
    expect(find(hypervisors, 'ConfigMap', 'nova-compute').data['nova.conf']).toContain('compute_driver = libvirt.LibvirtDriver');
    expect(JSON.stringify(find(hypervisors, 'DaemonSet', 'nova-compute'))).toContain('nova-compute-credentials');
    expect(JSON.stringify(hypervisors)).not.toMatch(/password\s*=\s*\S/);
  });

  it.each([
    ['kvm.host', 'kvm'],
    ['metal.large', 'metal'],
  ] as const)('the flavor %s takes machines of the role %s alone, whole, and spreads them over racks', (id, role: Role) => {
    const flavor = flavorRegistration.parse(FLAVORS.find((one) => one.id === id)) as FlavorRecord;
    const { candidates, refusals } = schedule(records(), { instanceUuid: 'new', flavor });
    expect(candidates.map(({ properties }) => properties.capabilities?.role)).toEqual([role, role, role]);
    expect(refusals).toHaveLength(3);
    for (const { reason } of refusals) expect(reason).not.toBe('');
  });
});

/** The synthesized machines as bms-core enrols them. */
function records(): NodeRecord[] {
  return servers
    .filter(({ kind }) => kind === 'BareMetalNode')
    .map(({ metadata, spec }, index) =>
      nodeKind.parse({
        uuid: `u-${index}`,
        name: metadata.name,
        number: index + 1,
        interfaces: spec.interfaces.map(({ mac }: { mac: string }) => ({ mac })),
        properties: spec.properties,
        bmc: { driver: spec.bmc.protocol, address: spec.bmc.address, username: 'admin', passwordRef: 'x' },
        state: 'available',
        stateSince: 0,
        reason: 'free',
      }),
    );
}
