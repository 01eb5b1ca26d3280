/** bmctl bundle: everything that installs the operator, as one stream for `kubectl apply -f -`. */
import { App, Yaml } from 'cdk8s';
import { OperatorInstallation, type OperatorInstallationProps } from 'cdk8s-baremetal/operator-installation';
import { onecloudCluster } from 'cdk8s-baremetal-contract/onecloud/index';

const HEAD = `# The operator for OneCloud clusters. Install it, then create a cluster in a second step: kubectl knows the new kind only
# when the first apply is through.
#   bmctl bundle | kubectl apply -f -
#   bmctl cluster create --version VERSION …
`;

/** Custom resource definitions first, then the namespace and what lives in it. */
export function bundleObjects(props: OperatorInstallationProps = {}): Record<string, unknown>[] {
  const installation = new OperatorInstallation(new App(), 'operator', props);
  return [onecloudCluster.manifest(), ...(installation.toJson() as Record<string, unknown>[])];
}

export function bundleYaml(props: OperatorInstallationProps = {}): string {
  return HEAD + Yaml.stringify(...bundleObjects(props));
}
