export {
  EnvironmentService,
  type EnvironmentServiceProps,
  type FilebeatProps,
  type FromValuesOptions,
  type GitSource,
} from './environment-service.ts';
export { environmentErrors } from './errors.ts';
export type { RedisList } from './filebeat.ts';
export { type HelmChartOptions, helmChart, writeHelmChart } from './helm-chart.ts';
export { LogstashPipeline, type LogstashPipelineProps } from './logstash.ts';
export { NoGitRepoVolumes, type NoGitRepoVolumesProps } from './no-git-repo-volumes.ts';
export { ValuesError, type ValuesProblem } from './values.ts';
