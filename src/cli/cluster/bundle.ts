/** bmctl bundle: everything that installs the operator, as one stream for `kubectl apply -f -`. */
import { App, Yaml } from 'cdk8s';
import { OperatorInstallation, type OperatorInstallationProps } from 'cdk8s-baremetal/operator-installation';
import { onecloudCluster, withoutRules } from 'cdk8s-baremetal-contract/onecloud/index';

const HEAD = `# The operator for OneCloud clusters. Install it, then create a cluster in a second step: kubectl knows the new kind only
# when the first apply is through.
#   bmctl bundle | kubectl apply -f -
#   bmctl cluster create --version VERSION …
`;

export interface BundleOptions extends OperatorInstallationProps {
  /** Whether the CRD has rules in CEL. Without them for Kubernetes before 1.25, whose kubectl refuses the field. @default true */
  readonly validationRules?: boolean;
}

/** Custom resource definitions first, then the namespace and what lives in it. */
export function bundleObjects({ validationRules = true, ...props }: BundleOptions = {}): Record<string, unknown>[] {
  const crd = onecloudCluster.manifest();
  const installation = new OperatorInstallation(new App(), 'operator', props);
  return [validationRules ? crd : withoutRules(crd), ...(installation.toJson() as Record<string, unknown>[])];
}

export function bundleYaml(props: BundleOptions = {}): string {
  return HEAD + Yaml.stringify(...bundleObjects(props));
}
