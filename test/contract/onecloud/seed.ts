/** The objects that the document prints, as text: the first for creating a cluster, the second for its glance. */

export const CREATE_AS_PRINTED = `
apiVersion: "onecloud.yunion.io/v1alpha1"
kind: OnecloudCluster
metadata:
  name: "default"
  namespace: "onecloud"
spec:
  mysal:
    host: 10.168.26.216
    username: root
    password: "your-sql-password"
  region: "region0"
  imageRepository: registry.cn-beijing.aliyuncs.com/yunionio
  version: v3.1.3-20200312.0
`;

export const GLANCE_AS_PRINTED = `
  alance:
    disable: false
    image: registry.cn-beijing.aliyuncs.com/yunionio/glance:v3.1.3-20200312.0
    imagePullPolicy: Always
    replicas: 1
    requests:
      storage: 100G
    storageClassName: local-path
    tolerations:
    - effect: NoSchedule
      key: node-role.kubernetes.io/master
    - effect: NoSchedule
      key: node-role.kubernetes.io/controlplane
`;

export const UPGRADE_AS_PRINTED = `
  vpcAgent:
    disable: false
    image: registry.cn-beijing.aliyuncs.com/yunionio/vpcagent:v3.1.3-20200312.0
    imagePullPolicy: Always
    replicas: 1
    tolerations:
    - effect: NoSchedule
      key: node-role.kubernetes.io/master
    - effect: NoSchedule
      key: node-role.kubernetes.io/controlplane
`;

/** Everything together, with the two misread letters. */
export const AS_PRINTED = CREATE_AS_PRINTED.trimEnd() + GLANCE_AS_PRINTED.trimEnd() + UPGRADE_AS_PRINTED;

export const CORRECTED = AS_PRINTED.replace('mysal:', 'mysql:').replace('alance:', 'glance:');
